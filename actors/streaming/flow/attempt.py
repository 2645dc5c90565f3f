"""One attempt at one answer: through its alternatives to an answer, or to the last of them.

Alternatives are tried at once, and only as long as nothing of an answer has gone out, or where the
next one goes on with what has. Whatever needs time, or a new segment of the stream, is left to the
owner of the execution.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import NamedTuple, cast

import anyio
import msgspec

from actors.streaming.adapters.answers import KeptAnswers
from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.providers.base import ModelCall, ModelProvider
from actors.streaming.core import structured
from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.resilience.fingerprint import fingerprint, is_cacheable
from actors.streaming.core.resilience.health import HealthLine
from actors.streaming.core.resilience.keys import is_of_this_process
from actors.streaming.core.resilience.routes import Failure, Route, after, routes
from actors.streaming.core.resilience.trail import Trail
from actors.streaming.core.safety.intake import under
from actors.streaming.core.safety.rules import RuleLibrary
from actors.streaming.core.sequencer import Sequencer
from actors.streaming.core.tokens import estimate
from actors.streaming.core.tokens.allowance import Allowance
from actors.streaming.core.tokens.charging import CostMeter
from actors.streaming.core.tokens.window import overflow
from actors.streaming.core.writing.continuation import (
    continued,
    is_continuable,
    takes_beginnings,
)
from actors.streaming.flow.batch_call import BatchCall, batch_refusal, form_of
from actors.streaming.flow.batches import Batches
from actors.streaming.flow.gate import Gate
from actors.streaming.flow.switchboard import CircuitQuestion, HeardCircuits, Switchboard
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.ports import Clock
from bus.tasks import in_own_task, loop_time
from schemas.ledger import Extend
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import Answer, AnswerWarning, GenerateRequest
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.safety import Safety
from schemas.steps import begun
from schemas.streams import StreamEvent

Emit = Callable[[list[StreamEvent]], Awaitable[None]]
"""Publishes events in order. While it waits nothing is read from the provider, and what arrives
meanwhile comes as one event: a full window makes events fewer and larger, never lost or late."""

Offer = Callable[[list[StreamEvent]], list[StreamEvent]]
"""Publishes at once what needs no waiting; returns the rest, for ``Emit``."""

Grant = Callable[[GenerateWork, Extend], Awaitable[None]]
"""Returns once more money is held for an attempt; raises ``ProblemError`` if it is not."""

_OUT_OF_TIME = Problem(code="timeout", message="The execution's time is over.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What the attempts of a process share.

    ``safety`` holds for all of them.
    ``prices`` returns those in force; without it nothing is priced. ``grant`` holds more money.
    ``batches`` carries requests that need no answer at once.
    """

    providers: Providers
    clock: Clock
    answers: KeptAnswers | None = None
    safety: Safety | None = None
    prices: Callable[[], Prices] | None = None
    grant: Grant | None = None
    batches: Batches | None = None
    switchboard: Switchboard = field(default_factory=Switchboard)
    rules: RuleLibrary = field(default_factory=RuleLibrary)
    slices: Slices = field(default_factory=Slices)


class _Running(NamedTuple):
    route: Route
    key: str | None
    call: ModelCall


class GenerationAttempt:
    """Runs once. Where it is cancelled, ``failed`` still says what it has used and published."""

    def __init__(
        self, work: GenerateWork, means: Means, emit: Emit, offer: Offer | None = None
    ) -> None:
        self._work = work
        self._policy = under(work.policy, means.safety)
        self._means = means
        self._emit = emit
        self._offer = offer or _all
        self._started_at = means.clock()
        self._request = work.request
        self._sequencer = Sequencer(
            work.execution_id, segment=work.segment, step=work.step, attempt=work.attempt
        )
        self._gate = Gate(
            self._policy,
            work.tenant,
            means.providers,
            means.rules,
            means.switchboard,
            means.slices,
        )
        self._trail = Trail(work.attempt)
        self._meter = self._opened_meter()
        self._allowance = Allowance(work, work.slices) if work.slices else None
        self._running: _Running | None = None
        self._resumed: set[int] = set()
        self._answer: Answer | None = None
        self._answered_with: str | None = None

    def _opened_meter(self) -> CostMeter | None:
        prices, is_batch = self._means.prices, self._work.request.batch
        return CostMeter(prices(), self._started_at, batch=is_batch) if prices else None

    async def run(self) -> FinishGeneration | FailGeneration:
        """Generate the answer and return the command that reports it to the execution.

        The first event says what is being asked; then there is one text event a read, and one event
        a tool call. Ends by the work's deadline. Cancelling closes the provider's connection at
        once.
        """
        seconds = (self._work.deadline - self._means.clock()).total_seconds()
        with anyio.move_on_after(max(seconds, 0)):
            return await self._run()
        return self.failed(_OUT_OF_TIME)

    def failed(self, problem: Problem, *, next_place: int | None = None) -> FailGeneration:
        """Report the end without an answer, with all that was used until then."""
        if self._running is not None:
            self._note_failed(self._running, problem)
            self._running = None
        return FailGeneration(
            work=str(self._work.step),
            attempt=self._work.attempt,
            problem=problem,
            deltas=self._sequencer.deltas,
            started_at=self._started_at,
            usage=self._trail.usage,
            next_place=next_place,
            elsewhere=is_of_this_process(problem),
            detours=self._trail.detours,
            findings=self._gate.findings(),
            charges=self._meter.bill(self._gate.judged) if self._meter else None,
            decided_at=self._work.decided_at,
        )

    def _finished(self, answer: Answer, place: int) -> FinishGeneration:
        return FinishGeneration(
            work=str(self._work.step),
            attempt=self._work.attempt,
            answer=answer,
            deltas=self._sequencer.deltas,
            started_at=self._started_at,
            place=place,
            detours=self._trail.detours,
            findings=self._gate.findings(),
            charges=self._meter.bill(self._gate.judged) if self._meter else None,
            decided_at=self._work.decided_at,
        )

    # From one alternative to the next

    async def _run(self) -> FinishGeneration | FailGeneration:
        try:
            self._request = await self._gate.take_in(self._request)
        except ProviderFaultError as error:
            return self.failed(error.problem)
        ways = deque(routes(self._request, self._policy, start=self._work.place))
        return await self._from_cache(ways[0]) or await self._through(ways)

    async def _through(self, ways: deque[Route]) -> FinishGeneration | FailGeneration:
        while True:
            way = ways.popleft()
            problem, onward = await self._along(way, is_last=not ways), None
            if problem is not None:
                onward = self._onward(way, ways)
            elif self._answer is not None:
                answer = await self._verified(way, self._answer)
                if isinstance(answer, Answer):
                    await self._keep(way, answer)
                    return self._finished(answer, way.place)
                problem = answer
                if not problem.retryable:
                    return self.failed(problem)
            problem = problem or Problem(code="internal", message="There was no answer.")
            failure = Failure(
                problem,
                other_routes=bool(ways),
                published=self._gate.published,
                can_continue=onward is not None,
            )
            match after(failure):
                case "continue":
                    ways = onward or ways
                case "next_route":
                    pass
                case "restart":
                    return self.failed(problem, next_place=ways[0].place)
                case _:
                    return self.failed(problem)

    async def _verified(self, way: Route, answer: Answer) -> Answer | Problem:
        """Return an answer that is of the format asked for, or that may go out with a warning."""
        fault = await self._means.slices.run(
            structured.fault_of(answer, way.config.response_format), self._work.tenant
        )
        if fault is None:
            return structured.verified(answer, way.config.response_format)
        if self._policy.structured_output == "warn":
            warning = AnswerWarning(field=structured.FIELD, message=fault)
            return msgspec.structs.replace(answer, warnings=[*answer.warnings, warning])
        problem = structured.problem_of(fault, self._policy.structured_output)
        # Its price is on the till already: to the provider it was an answer like any other.
        return self._trail.note(way, self._answered_with, problem, answer.usage)

    def _onward(self, way: Route, ways: deque[Route]) -> deque[Route] | None:
        """Return the alternatives from the one on that goes on with what is there; None if none.

        A provider whose answer was cut is itself asked to go on, once.
        """
        wish = self._policy.continuation
        if wish == "never" or not is_continuable(self._gate.beginning, way.config):
            return None
        left = [*ways] if way.place in self._resumed else [way, *ways]
        takers = [place for place, one in enumerate(left) if takes_beginnings(one.provider, wish)]
        if not takers:
            return None
        self._resumed.add(left[takers[0]].place)
        return deque(left[takers[0] :])

    async def _along(self, way: Route, *, is_last: bool) -> Problem | None:
        """Ask one provider, with one key after the other where it is the key that is refused."""
        provider = self._means.providers[type(way.provider)]
        status = provider.status(way.request(self._request, None))
        await self._emit([self._sequencer.thinking(status, self._means.clock())])
        problem = await self._refusal(provider, way.request(self._request, None))
        if problem is not None:
            return self._trail.note(way, None, problem)
        endpoints = self._means.switchboard.endpoints
        health = endpoints.of(way.provider, self._work.tenant, loop_time())
        question = CircuitQuestion(
            health=health,
            keys=way.keys,
            put=lambda line: self._call(way, line),
            tokens=lambda: self._tokens(way),
            note=lambda key, problem: self._trail.note(way, key, problem),
            began=lambda: self._gate.published,
            waiting=self._waiting,
            last=is_last,
        )
        return await self._means.switchboard.ask(question)

    async def _waiting(self, code: str, seconds: float) -> None:
        """Say on the stream that the call is put off, and for how long."""
        now = self._means.clock()
        status = f"{code}: again in {round(seconds, 1):g} s"
        until = now + timedelta(seconds=seconds)
        await self._emit([self._sequencer.thinking(status, now, until)])

    async def _refusal(self, provider: ModelProvider, request: GenerateRequest) -> Problem | None:
        """Return why a request cannot be sent there at all."""
        problem = batch_refusal(provider, request)
        if problem is not None:
            return problem
        fits = overflow(request, self._prices())
        done = begun(fits)
        return done.result if done else await self._means.slices.run(fits, self._work.tenant)

    # One call

    async def _call(self, way: Route, line: HealthLine) -> HeardCircuits:
        request = way.request(self._request, line.key)
        if self._gate.published:
            request = continued(request, self._gate.beginning.text)
        call = self._prepared(request)
        self._running = running = _Running(way, line.key, call)
        self._gate.begin()
        problem = await self._read(call, line)
        if problem is None:
            self._answer, self._answered_with = self._gate.answer(call.answer()), line.key
            if self._meter is not None:
                self._meter.answered(way, line.key, self._answer, foreign=call.foreign)
        else:
            self._note_failed(running, problem)
        self._running = None
        return HeardCircuits(problem, call.headers)

    def _prepared(self, request: GenerateRequest) -> ModelCall:
        work, provider = self._work, self._means.providers[type(request.provider)]
        context = CallContext(work.tenant, work.attempt, f"{work.execution_id}.{work.step}")
        form, batches = form_of(provider, request), self._means.batches
        if not request.batch or form is None or batches is None:
            return provider.call(request, context)
        return BatchCall(cast("HttpProvider", provider), batches, form, request, context)

    async def _read(self, call: ModelCall, line: HealthLine) -> Problem | None:
        """Publish the call's deltas to its end. Returns what went wrong, None in success."""
        try:
            async with call:
                await in_own_task(partial(self._pass_on, call, line))
        except (ProviderFaultError, ProblemError) as error:
            return error.problem
        return self._gate.stopped

    async def _pass_on(self, call: ModelCall, line: HealthLine) -> None:
        """Publish what is read until the call is at its end, or stopped."""
        gate, began = self._gate, False
        while (deltas := await call.read()) is not None:
            if not deltas:
                continue
            if not began:
                began = True
                line.answered()
            if self._allowance is not None:
                await self._afford(self._allowance, deltas)
            # Awaiting what need not wait would cost as much as all the rest of a delta's way.
            passed = await gate.take(deltas) if gate.asks else gate.screened(deltas)
            if not isinstance(passed, list):
                passed = await gate.rest_of(passed)
            if passed and (left := self._offered(passed)):
                await self._emit(left)
            if gate.stopped is not None:
                return
        await self._publish(await gate.finish())

    async def _afford(self, allowance: Allowance, deltas: list[Delta]) -> None:
        """Have the money held for what was read before anybody sees it.

        Raises:
            ProblemError: ``budget_exceeded``, or nobody answered.
        """
        grant = self._means.grant
        extend = allowance.spend(deltas) if grant is not None else None
        if grant is not None and extend is not None:
            await grant(self._work, extend)
            allowance.granted(extend)

    async def _publish(self, deltas: list[Delta]) -> None:
        if deltas and (left := self._offered(deltas)):
            await self._emit(left)

    def _offered(self, deltas: list[Delta]) -> list[StreamEvent]:
        """Publish what can be at once, and return what has to wait."""
        return self._offer(self._sequencer.events(deltas, self._means.clock()))

    def _prices(self) -> Prices | None:
        return self._means.prices() if self._means.prices else None

    def _tokens(self, way: Route) -> int:
        """Return what the call may count against a limit of tokens."""
        return estimate.prompt_tokens(self._request) + (way.config.max_tokens or 0)

    # Answers of before

    async def _from_cache(self, way: Route) -> FinishGeneration | None:
        if self._policy.cache is None or self._means.answers is None:
            return None
        name = fingerprint(self._request, way, self._policy.safety)
        answer = await self._means.answers.find(self._work.tenant, name)
        if answer is None:
            return None
        now = self._means.clock()
        await self._emit([self._sequencer.thinking("Giving an earlier answer again", now)])
        deltas: list[Delta] = [ReasoningDelta(answer.reasoning)] if answer.reasoning else []
        deltas += [TextDelta(answer.text)] if answer.text else []
        await self._publish([*deltas, *answer.tool_calls])
        return self._finished(answer, way.place)

    async def _keep(self, way: Route, answer: Answer) -> None:
        wish, answers = self._policy.cache, self._means.answers
        if wish is None or answers is None or not is_cacheable(answer.finish_reason):
            return
        name = fingerprint(self._request, way, self._policy.safety)
        await answers.keep(self._work.tenant, name, answer, wish)

    def _note_failed(self, running: _Running, problem: Problem) -> None:
        spent = running.call.spent()
        self._trail.note(running.route, running.key, problem, spent)
        if self._meter is not None:
            foreign = spent is not None and running.call.foreign
            self._meter.failed(running.route, running.key, spent, foreign=foreign)


def _all(events: list[StreamEvent]) -> list[StreamEvent]:
    """Leave all to wait."""
    return events

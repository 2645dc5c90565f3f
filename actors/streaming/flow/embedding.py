"""Embeddings: the calls of one request, several at a time, put together in the order of texts."""

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial, reduce
from itertools import count
from operator import add
from typing import NamedTuple

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import HttpPosting
from actors.streaming.adapters.providers import Providers
from actors.streaming.core.embeddings.formats import (
    MAX_DIMENSIONS,
    Embedded,
    Format,
    TextBatch,
    batches,
    estimated,
    format_of,
    most_bytes,
    read,
)
from actors.streaming.core.embeddings.spent import Spent
from actors.streaming.core.embeddings.vectors import UnreadableError, otherwise, size, unreadable
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.resilience.health import HealthLine
from actors.streaming.core.resilience.keys import concerns_the_key, is_of_this_process
from actors.streaming.core.resilience.routes import keyed, keys_for
from actors.streaming.core.tokens.charging import Key
from actors.streaming.core.tokens.charging import embedded as charges_of
from actors.streaming.flow.sharing import Sharing, StateExchange
from actors.streaming.flow.switchboard import CircuitQuestion, HeardCircuits, Switchboard
from bus.errors import ProblemError, problem
from bus.fairness.slices import Slices
from bus.ports import Clock
from schemas.ledger import Charge
from schemas.lifecycle import NOTHING_SENT, EmbedWork, FailGeneration, FinishGeneration
from schemas.llm import Answer, AnswerWarning, EmbedRequest, StoredVectors
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.retry import delay
from schemas.usage import Usage

AT_ONCE = 8
"""Calls of one request under way at a time."""

RETRIES = 4
"""How often a call is made again that failed in passing."""

_LATE = Problem(code="timeout", message="The providers did not answer in time.", retryable=True)


class Vectors(NamedTuple):
    """The answers of all calls: a vector for each text, as it is stored."""

    rows: list[bytes]
    dimensions: int
    usage: Usage
    model: str | None
    warnings: list[AnswerWarning]


Store = Callable[[Vectors], Awaitable[StoredVectors]]
"""Stores vectors; raises ``ProblemError`` where that is not possible."""


class Embedder:
    """Embeds texts over the providers of a process.

    ``prices`` returns those in force; without it nothing is priced.
    """

    def __init__(
        self,
        providers: Providers,
        clock: Clock,
        switchboard: Switchboard | None = None,
        *,
        prices: Callable[[], Prices] | None = None,
    ) -> None:
        self._providers = providers
        self._clock = clock
        self._switchboard = switchboard or Switchboard()
        self._prices = prices
        self._sharing = Sharing()
        self._slices = Slices()

    def embedding(self, work: EmbedWork) -> "Embedding":
        """Prepare an attempt, which ends by the deadline of ``work``."""
        prices = self._prices() if self._prices else None
        return Embedding(work, self._way, self._clock(), prices)

    def _way(self, work: EmbedWork) -> "_Way":
        """Return whom the request goes to.

        Raises:
            ProblemError: ``validation``, the provider has no embeddings.
        """
        wanted = work.request
        form = format_of(wanted.provider)
        provider = self._providers.get(type(wanted.provider))
        if form is None or not isinstance(provider, HttpProvider):
            raise problem("validation", "This provider has no embeddings.", field="provider")
        context = CallContext(work.tenant, 1)
        return _Way(provider, form, context, self._switchboard, self._sharing, self._slices)


class _Way(NamedTuple):
    """Whom a request goes to, and how."""

    http: HttpProvider
    form: Format
    context: CallContext
    switchboard: Switchboard
    sharing: Sharing
    slices: Slices


class Embedding:
    """One attempt. Where it is cancelled, ``failed`` still says what its calls have used."""

    def __init__(
        self,
        work: EmbedWork,
        way: Callable[[EmbedWork], _Way],
        began: datetime,
        prices: Prices | None,
    ) -> None:
        self._work = work
        self._way = way
        self._began = began
        self._prices = prices
        self._spent = Spent(work.attempt, work.request.provider)

    async def run(self, store: Store) -> FinishGeneration | FailGeneration:
        """Embed the texts, ``store`` their vectors and return the command that reports them."""
        try:
            found = await self.embedded()
            return self._finished(found, await store(found))
        except ProblemError as error:
            return self.failed(error.problem)

    def _finished(self, found: Vectors, stored: StoredVectors) -> FinishGeneration:
        answer = Answer(
            text="",
            finish_reason="stop",
            usage=found.usage,
            model_served=found.model,
            warnings=found.warnings,
            vectors=stored,
        )
        return FinishGeneration(
            work=str(self._work.step),
            attempt=self._work.attempt,
            answer=answer,
            deltas=NOTHING_SENT,
            started_at=self._began,
            detours=self._spent.detours(),
            charges=self._charges(found.model),
            decided_at=self._work.decided_at,
        )

    def failed(self, problem: Problem, *, final: bool = True) -> FailGeneration:
        """Report the end without vectors, with all that was used until then."""
        self._spent.leave(problem)
        return FailGeneration(
            work=str(self._work.step),
            attempt=self._work.attempt,
            problem=problem,
            final=final,
            elsewhere=is_of_this_process(problem),
            deltas=NOTHING_SENT,
            started_at=self._began,
            usage=self._spent.usage,
            detours=self._spent.detours(),
            charges=self._charges(),
            decided_at=self._work.decided_at,
        )

    def _charges(self, served: str | None = None) -> list[Charge] | None:
        """Price all calls, as the prices were when the attempt began."""
        if self._prices is None:
            return None
        provider, used = self._work.request.provider, self._spent.by_key()
        return charges_of(self._prices, provider, used, self._began, served)

    async def embedded(self) -> Vectors:
        """Return a vector for each text.

        Raises:
            ProblemError: one of the calls failed, for good or until the time was over.
        """
        patience = max((self._work.deadline - self._began).total_seconds(), 0.0)
        answers = await _Calls(self._work, self._way(self._work), self._spent, patience).answers()
        return _joined(self._work.request, answers)


class _Calls:
    """The calls of one attempt, which end within ``patience`` seconds."""

    def __init__(self, work: EmbedWork, way: _Way, spent: Spent, patience: float) -> None:
        self._work = work
        self._wanted = work.request
        self._way = way
        self._spent = spent
        self._patience = patience
        self._numbers = count()
        self._found: dict[int, Embedded] = {}
        self._may_be_paid: set[int] = set()
        self._problem: Problem | None = None
        self._time = anyio.CancelScope()
        self._latest: Problem | None = None

    async def answers(self) -> list[Embedded]:
        """Return the answers to all calls, in the order of the texts.

        Raises:
            ProblemError: one of the calls failed, for good or until the time was over.
        """
        calls = list(batches(self._wanted, self._way.form))
        room = anyio.CapacityLimiter(AT_ONCE)

        async def ask(place: int, batch: TextBatch) -> None:
            async with room:
                problem = await self._insist(place, batch)
            if problem is not None:
                self._problem = self._problem or problem
                tasks.cancel_scope.cancel()

        with anyio.move_on_after(self._patience) as self._time:
            async with anyio.create_task_group() as tasks:
                for place, batch in enumerate(calls):
                    tasks.start_soon(ask, place, batch)
        if self._time.cancelled_caught:
            self._problem = self._latest or _LATE
        if self._problem is not None:
            raise ProblemError(self._problem)
        return [self._found[place] for place in range(len(calls))]

    async def _insist(self, place: int, batch: TextBatch) -> Problem | None:
        """Ask until there is an answer, or there is no point or no time to ask again."""
        for failures in range(RETRIES + 1):
            problem = await self._ask(place, batch)
            if problem is None:
                return None
            jitter = random.random()  # noqa: S311  spreads retries, guards nothing
            wait = delay(problem, failures=failures, jitter=jitter)
            if wait is None or failures == RETRIES or self._is_late(wait):
                return problem
            if self._work.held and place in self._may_be_paid:
                return problem
            self._latest = problem
            await anyio.sleep(wait)
        return None

    def _is_late(self, wait: float) -> bool:
        return anyio.current_time() + wait >= self._time.deadline

    async def _ask(self, place: int, batch: TextBatch) -> Problem | None:
        way, provider = self._way, self._wanted.provider
        question = CircuitQuestion(
            health=way.switchboard.endpoints.of(provider, way.context.tenant, anyio.current_time()),
            keys=keys_for(provider, self._work.policy.keys),
            put=lambda line: self._call(place, batch, line),
            tokens=lambda: estimated(batch).input,
        )
        return await way.switchboard.ask(question)

    async def _call(self, place: int, batch: TextBatch, line: HealthLine) -> HeardCircuits:
        way, provider = self._way, keyed(self._wanted.provider, line.key)
        # What is begun may be billed, until it is known to be refused.
        call = next(self._numbers)
        key = Key(line.key, way.http.endpoint.is_foreign(provider, way.context))
        self._spent.begin(call, key, estimated(batch))
        name = msgspec.json.encode((way.context.tenant, provider, self._wanted.dimensions))
        ended = await way.sharing.ask(name, batch.texts, way.form, partial(self._put, provider))
        if ended.found is not None:
            self._found[place] = ended.found
            self._spent.answered(call, ended.found.usage)
        else:
            self._spent.failed(call, ended.problem, is_free=ended.free)
            if not ended.free:
                self._may_be_paid.add(place)
        return HeardCircuits(ended.problem, ended.headers)

    async def _put(self, provider: Provider, texts: Sequence[str]) -> StateExchange:
        """Make one call, for texts of this request and of others that are asked in the same way."""
        way, tenant = self._way, self._way.context.tenant
        batch = way.form.write(self._wanted, texts)
        dimensions = max(MAX_DIMENSIONS, self._wanted.dimensions or 0)
        # Half of all time: silence is worth another try.
        patience, most = self._patience / 2, most_bytes(batch, dimensions)
        posting = HttpPosting(way.http, provider, way.context, patience=patience, most=most)
        found, problem = None, None
        try:
            body = await posting.answer(batch.path, batch.body)
            found = await way.slices.run(read(way.form, batch, body, dimensions), tenant)
        except (ProviderFaultError, ProblemError) as error:
            problem = error.problem
        except UnreadableError as error:
            problem = unreadable(error)
        # A refusal is free under whatever status it comes.
        is_free = posting.free or (problem is not None and concerns_the_key(problem))
        return StateExchange(found, problem, posting.headers, is_free)


def _joined(wanted: EmbedRequest, answers: list[Embedded]) -> Vectors:
    """Put the answers of all calls together.

    Raises:
        ProblemError: their vectors differ in size, or are not of the size that was insisted on.
    """
    try:
        dimensions = size(one.size for one in answers)
    except UnreadableError as error:
        raise ProblemError(unreadable(error)) from None
    other = otherwise(wanted, dimensions)
    if isinstance(other, Problem):
        raise ProblemError(other)
    return Vectors(
        rows=[vector for one in answers for vector in one.vectors],
        dimensions=dimensions,
        usage=reduce(add, (one.usage for one in answers)),
        model=answers[0].model,
        warnings=[] if other is None else [other],
    )

"""Embeddings: the calls of one request, several at a time, put together in the order of texts."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial, reduce
from itertools import count
from operator import add
from typing import NamedTuple

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import Posting
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.sharing import Exchange, Sharing
from actors.streaming.adapters.switchboard import Heard, Question, Switchboard
from actors.streaming.core.charging import Key
from actors.streaming.core.charging import embedded as charges_of
from actors.streaming.core.embedding import (
    MAX_DIMENSIONS,
    Batch,
    Embedded,
    Format,
    batches,
    estimated,
    format_of,
    most_bytes,
    read,
)
from actors.streaming.core.faults import ProviderFaultError
from actors.streaming.core.resilience.health import Line
from actors.streaming.core.resilience.keys import concerns_the_key
from actors.streaming.core.resilience.routes import keyed, keys_for
from actors.streaming.core.vectors import UnreadableError, otherwise, size, unreadable
from bus.errors import ProblemError, problem
from bus.slices import Slices
from schemas.embeddings import Embed, EncodedEmbeddings
from schemas.events import EmbeddedEvent
from schemas.ids import TenantId
from schemas.ledger import Charge
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.retry import delay
from schemas.usage import Usage

AT_ONCE = 8
"""Calls of one request under way at a time."""

RETRIES = 4
"""How often a call is made again that failed in passing."""

_CALLED_OFF = Problem(code="cancelled", message="The process stopped before all was answered.")
_LATE = Problem(code="timeout", message="The providers did not answer in time.", retryable=True)


class Embedder:
    """Embeds texts over the providers of a process, each request within ``patience`` seconds.

    ``prices`` returns those in force; without it nothing is priced.
    """

    def __init__(
        self,
        providers: Providers,
        switchboard: Switchboard | None = None,
        *,
        patience: float = 60.0,
        prices: Callable[[], Prices] | None = None,
    ) -> None:
        self._providers = providers
        self._switchboard = switchboard or Switchboard()
        self._prices = prices
        self._sharing = Sharing()
        self._slices = Slices()
        self.patience = patience

    def embedding(
        self,
        tenant: TenantId,
        wanted: Embed,
        *,
        patience: float | None = None,
        is_held: bool = False,
    ) -> "Embedding":
        """Prepare the calls of one request.

        With ``is_held`` each call may be paid once: that is what money is held for.

        Raises:
            ProblemError: ``validation``, the provider has no embeddings.
        """
        form = format_of(wanted.provider)
        provider = self._providers.get(type(wanted.provider))
        if form is None or not isinstance(provider, HttpProvider):
            raise problem("validation", "This provider has no embeddings.", field="provider")
        context = CallContext(tenant, 1)
        seconds = self.patience if patience is None else patience
        prices = self._prices() if self._prices else None
        beside = (self._switchboard, seconds, prices, self._sharing, self._slices, is_held)
        way = _Way(provider, form, wanted, context, *beside)
        return Embedding(way)


class _Way(NamedTuple):
    """Whom a request goes to, and how."""

    http: HttpProvider
    form: Format
    wanted: Embed
    context: CallContext
    switchboard: Switchboard
    patience: float
    prices: Prices | None
    sharing: Sharing
    slices: Slices
    is_held: bool


class _Spent(NamedTuple):
    """What a call has used, with which key; ``foreign`` where that is not the operator's."""

    key: str | None
    usage: Usage
    foreign: bool = False


class Embedding:
    """The calls of one request. Whatever becomes of them, ``event`` says what they have used."""

    def __init__(self, way: _Way) -> None:
        self._way = way
        self._wanted = way.wanted
        self._calls = count()
        self._spent: dict[int, _Spent] = {}
        self._found: dict[int, Embedded] = {}
        self._may_be_paid: set[int] = set()
        self._problem: Problem | None = None
        self._answer: EncodedEmbeddings | None = None
        self._time = anyio.CancelScope()
        self._latest: Problem | None = None

    @property
    def most(self) -> Usage:
        """What all calls together use, estimated."""
        calls = batches(self._wanted, self._way.form)
        return reduce(add, (estimated(batch) for batch in calls))

    def event(self, event_id: str, began: datetime, at: datetime) -> EmbeddedEvent | None:
        """Say what all calls have used; None where they have cost nothing."""
        if not self._spent:
            return None
        called_off = None if self._answer else _CALLED_OFF
        served = self._answer.model_served if self._answer else None
        return EmbeddedEvent(
            id=event_id,
            provider=str(self._wanted.provider.__struct_config__.tag),
            model=self._wanted.provider.model,
            model_served=served,
            texts=len(self._wanted.texts),
            usage=reduce(add, (call.usage for call in self._spent.values())),
            user=self._wanted.user,
            project=self._wanted.project,
            at=at,
            duration_ms=round((at - began) / timedelta(milliseconds=1)),
            error=self._problem or called_off,
            charges=self._charges(began, served),
        )

    def _charges(self, began: datetime, served: str | None) -> list[Charge]:
        """Price all calls, as the prices were when the request began."""
        if self._way.prices is None:
            return []
        used: dict[Key, Usage] = {}
        for name, usage, foreign in self._spent.values():
            key = Key(name, foreign)
            used[key] = used[key] + usage if key in used else usage
        return charges_of(self._way.prices, self._wanted.provider, used, began, served)

    async def embedded(self) -> EncodedEmbeddings:
        """Return a vector for each text.

        Raises:
            ProblemError: one of the calls failed, for good or until the time was over.
        """
        calls = list(batches(self._wanted, self._way.form))
        room = anyio.CapacityLimiter(AT_ONCE)

        async def ask(place: int, batch: Batch) -> None:
            async with room:
                problem = await self._insist(place, batch)
            if problem is not None:
                self._problem = self._problem or problem
                tasks.cancel_scope.cancel()

        with anyio.move_on_after(self._way.patience) as self._time:
            async with anyio.create_task_group() as tasks:
                for place, batch in enumerate(calls):
                    tasks.start_soon(ask, place, batch)
        if self._time.cancelled_caught:
            self._problem = self._latest or _LATE
        if self._problem is not None:
            raise ProblemError(self._problem)
        try:
            self._answer = _joined(
                self._wanted, [self._found[place] for place in range(len(calls))]
            )
        except ProblemError as error:
            self._problem = error.problem
            raise
        return self._answer

    async def _insist(self, place: int, batch: Batch) -> Problem | None:
        """Ask until there is an answer, or there is no point or no time to ask again."""
        for failures in range(RETRIES + 1):
            problem = await self._ask(place, batch)
            if problem is None:
                return None
            jitter = random.random()  # noqa: S311  spreads retries, guards nothing
            wait = delay(problem, failures=failures, jitter=jitter)
            if wait is None or failures == RETRIES or self._is_late(wait):
                return problem
            if self._way.is_held and place in self._may_be_paid:
                return problem
            self._latest = problem
            await anyio.sleep(wait)
        return None

    def _is_late(self, wait: float) -> bool:
        return anyio.current_time() + wait >= self._time.deadline

    async def _ask(self, place: int, batch: Batch) -> Problem | None:
        way, provider = self._way, self._wanted.provider
        question = Question(
            health=way.switchboard.endpoints.of(provider, way.context.tenant, anyio.current_time()),
            keys=keys_for(provider, self._wanted.keys),
            put=lambda line: self._call(place, batch, line),
            tokens=lambda: estimated(batch).input,
        )
        return await way.switchboard.ask(question)

    async def _call(self, place: int, batch: Batch, line: Line) -> Heard:
        way, provider = self._way, keyed(self._wanted.provider, line.key)
        # What is begun may be billed, until it is known to be refused.
        call = next(self._calls)
        foreign = way.http.endpoint.is_foreign(provider, way.context)
        self._spent[call] = spent = _Spent(line.key, estimated(batch), foreign)
        name = msgspec.json.encode((way.context.tenant, provider, self._wanted.dimensions))
        ended = await way.sharing.ask(name, batch.texts, way.form, partial(self._put, provider))
        if ended.found is not None:
            self._found[place] = ended.found
            self._spent[call] = spent._replace(usage=ended.found.usage)
        elif ended.free:
            del self._spent[call]
        else:
            self._may_be_paid.add(place)
        return Heard(ended.problem, ended.headers)

    async def _put(self, provider: Provider, texts: Sequence[str]) -> Exchange:
        """Make one call, for texts of this request and of others that are asked in the same way."""
        way, tenant = self._way, self._way.context.tenant
        batch = way.form.write(self._wanted, texts)
        dimensions = max(MAX_DIMENSIONS, self._wanted.dimensions or 0)
        # Half of all time: silence is worth another try.
        patience, most = way.patience / 2, most_bytes(batch, dimensions)
        posting = Posting(way.http, provider, way.context, patience=patience, most=most)
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
        return Exchange(found, problem, posting.headers, is_free)


def _joined(wanted: Embed, answers: list[Embedded]) -> EncodedEmbeddings:
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
    return EncodedEmbeddings(
        vectors=[vector for one in answers for vector in one.vectors],
        dimensions=dimensions,
        model_served=answers[0].model,
        usage=reduce(add, (one.usage for one in answers)),
        warnings=[] if other is None else [other],
    )

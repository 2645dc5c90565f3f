"""States at rest on JetStream, in the stream of the entity's journal.

Every write expects the last message of the shard's owner subject, which each takeover replaces: the
log itself refuses what a former owner writes. Several messages go as an atomic batch (ADR-50).

The states of ended entities have subjects of their own, so that a purge by sequence removes the
oldest of them. In the same batch an empty message replaces what was stored of the entity's life.
"""

from collections.abc import AsyncIterator, Iterable, Sequence

from bus.codec import decode, encode
from bus.connection import NatsTransport
from bus.errors import FencedError, UnavailableError
from bus.ids import new_id
from bus.jetstream.direct_get import read_page
from bus.jetstream.journal import EXPECTED, JetStreamJournal
from bus.jetstream.publishing import store
from bus.ports import Filed, Resting, StateWriter
from bus.state.pages import joined, laid_out, opened, page_subject
from bus.streams.api import WRONG_LAST_SEQUENCE, JetStream, JetStreamError
from bus.streams.spec import journal_stream
from bus.subjects import (
    ended_filter,
    ended_subject,
    owner_subject,
    parse,
    state_subject,
    states_filter,
)
from schemas.journal import Owner

BATCH_SECONDS = 5.0
"""One server stages a batch in a file of its own: some 20 ms, more on a busy disk."""

READ_TRIES = 5
"""Of a state in pages, which may be replaced while it is read."""

_ROLLUP = {"Nats-Rollup": "sub"}
FORGOTTEN_PART = 8
"""So small a part of the stream, by sequences, is forgotten at a time: it may be enough."""

_HEAD = "_cb.{kind}.{entity}.{shard}.{tenant}.{key}"
_LEFT_OVER_SECONDS = "1"
"""The shortest life that a message can be given: so long an empty page stands where one was."""


class JetStreamStates:
    """See ``States``. The stream's leader is asked, because a replica may be behind."""

    def __init__(self, transport: NatsTransport, jetstream: JetStream, entity: str) -> None:
        self._transport = transport
        self._jetstream = jetstream
        self._entity = entity
        self._stream = journal_stream(entity)
        self._leader = JetStreamJournal(transport, jetstream, self._stream)

    async def own(self, shard: int, epoch: int) -> StateWriter:
        """See ``States.own``."""
        subject = owner_subject(self._entity, shard)
        while True:
            newest = await self._leader.last(subject)
            if newest is not None and decode(Owner, newest.data).epoch > epoch:
                raise FencedError(subject, newest.sequence)
            expected = {EXPECTED: str(newest.sequence if newest else 0)}
            try:
                ack = await store(
                    self._transport, subject, encode(Owner(epoch=epoch)), headers=expected | _ROLLUP
                )
            except JetStreamError as error:
                if error.code not in WRONG_LAST_SEQUENCE:
                    raise UnavailableError(subject, error.description) from None
                # Another process has written meanwhile, or an earlier try of this one: look again.
                continue
            pages = await self._page_counts(shard)
            return _Writer(self._transport, self._entity, shard, ack.seq, pages)

    async def read(self, shard: int, tenant: str, key: str) -> Resting | None:
        """See ``States.read``."""
        place = (self._entity, shard, tenant, key)
        # What lives again after it has ended has the older state among the ended ones.
        for subject in (state_subject(*place), ended_subject(*place)):
            if (found := await self._read(subject, tenant, key)) is not None:
                return found
        return None

    async def _read(self, subject: str, tenant: str, key: str) -> Resting | None:
        for _ in range(READ_TRIES):
            stored = await self._leader.last(subject)
            if stored is None or not stored.data:
                return None
            head, data = opened(stored.data)
            whole = await self._joined(subject, stored.data) if head.pages else data
            if whole is not None:
                return Resting(tenant, key, head.n, whole)
        raise UnavailableError(subject, "is replaced again and again while it is read")

    async def read_all(self, shard: int) -> AsyncIterator[Resting]:
        """See ``States.read_all``."""
        for pattern in (states_filter(self._entity, shard), ended_filter(self._entity, shard)):
            position = 1
            while found := await self._page(pattern, position):
                for sequence, subject, message in found:
                    position = sequence + 1
                    state = await self._whole(shard, subject, message) if message else None
                    if state is not None:
                        yield state

    async def forget(self, shard: int, *, below: int) -> bool:
        """See ``States.forget``."""
        subjects = f"{ended_filter(self._entity, shard).removesuffix('*.*')}>"
        oldest = await self._leader.first(subjects)
        if oldest is None or oldest.sequence >= below:
            return False
        part = -(-(below - oldest.sequence) // FORGOTTEN_PART)
        await self._leader.purge(subjects, below=oldest.sequence + part)
        return True

    async def _whole(self, shard: int, subject: str, message: bytes) -> Resting | None:
        tokens = parse(_HEAD, subject) or {}
        tenant, key = tokens["tenant"], tokens["key"]
        head, data = opened(message)
        if head.pages:
            return await self.read(shard, tenant, key)
        return Resting(tenant, key, head.n, data)

    async def _page(self, pattern: str, position: int) -> list[Filed]:
        """Return what follows; where a replica knows of nothing more, ask the leader."""
        page = await read_page(self._transport, self._stream, pattern, position)
        if page:
            return [Filed(read.sequence, read.subject, read.data) for read in page]
        query = {"seq": position, "next_by_subj": pattern}
        following = await self._leader.filed(pattern, query)
        return [following[0]] if following else []

    async def _joined(self, subject: str, message: bytes) -> bytes | None:
        head, _ = opened(message)
        pages: list[bytes] = []
        for page in range(1, head.pages + 1):
            stored = await self._leader.last(page_subject(subject, page))
            pages.append(stored.data if stored else b"")
        return joined(head, pages)

    async def _page_counts(self, shard: int) -> dict[str, int]:
        """Return how many pages lie of each state that has some, by the subject of its head."""
        counts = dict[str, int]()
        for heads in (states_filter(self._entity, shard), ended_filter(self._entity, shard)):
            pattern = heads + ".*"
            try:
                info = await self._jetstream.stream_info(self._stream, subjects=pattern)
            except JetStreamError as error:
                raise UnavailableError(pattern, error.description) from None
            for subject in info["state"].get("subjects") or ():
                head, _, page = subject.rpartition(".")
                counts[head] = max(counts.get(head, 0), int(page))
        return counts


class _Writer:
    """See ``StateWriter``. ``pages`` says what lies of each state beside its head."""

    def __init__(
        self,
        transport: NatsTransport,
        entity: str,
        shard: int,
        owner: int,
        pages: dict[str, int],
    ) -> None:
        self._transport = transport
        self._entity = entity
        self._shard = shard
        self._fence = {
            EXPECTED: str(owner),
            f"{EXPECTED}-Subject": owner_subject(entity, shard),
        } | _ROLLUP
        self._pages = pages

    async def write(self, states: Sequence[Resting]) -> None:
        """See ``StateWriter.write``."""
        messages = [message for state in states for message in self._messages(state)]
        if not messages:
            return
        try:
            await self._store(messages)
        except JetStreamError as error:
            subject = messages[0][0]
            if error.code in WRONG_LAST_SEQUENCE:
                raise FencedError(subject, int(self._fence[EXPECTED])) from None
            raise UnavailableError(subject, error.description) from None
        for state in states:
            self._note(state)

    async def _store(self, messages: Sequence[tuple[str, bytes, dict[str, str]]]) -> None:
        *earlier, last = messages
        batch = {"Nats-Batch-Id": new_id()} if earlier else {}
        for place, (subject, data, headers) in enumerate(earlier, 1):
            numbered = headers | batch | {"Nats-Batch-Sequence": str(place)}
            await self._transport.publish(subject, data, headers=numbered)
        subject, data, headers = last
        if earlier:
            headers |= batch | {
                "Nats-Batch-Sequence": str(len(messages)),
                "Nats-Batch-Commit": "1",
            }
        await store(self._transport, subject, data, headers=headers, timeout=BATCH_SECONDS)

    def _messages(self, state: Resting) -> Iterable[tuple[str, bytes, dict[str, str]]]:
        """Yield all that is to be stored of a state, with what lets go of what it replaces."""
        subject, life = self._subject(state), dict[str, str]()
        if state.ttl is not None:
            life = {"Nats-TTL": str(state.ttl)}
            if state.slept:
                place = (self._entity, self._shard, state.tenant, state.key)
                yield from self._removal(state_subject(*place))
        head, *pages = laid_out(state.n, state.data)
        yield subject, head, self._fence | life
        for number, page in enumerate(pages, 1):
            yield page_subject(subject, number), page, self._fence | life
        before = self._pages.get(subject, 0)
        for number in range(len(pages) + 1, before + 1):
            yield self._left_over(page_subject(subject, number))

    def _subject(self, state: Resting) -> str:
        place = (self._entity, self._shard, state.tenant, state.key)
        return state_subject(*place) if state.ttl is None else ended_subject(*place)

    def _removal(self, subject: str) -> Iterable[tuple[str, bytes, dict[str, str]]]:
        yield self._left_over(subject)
        for number in range(1, self._pages.get(subject, 0) + 1):
            yield self._left_over(page_subject(subject, number))

    def _left_over(self, subject: str) -> tuple[str, bytes, dict[str, str]]:
        return subject, b"", self._fence | {"Nats-TTL": _LEFT_OVER_SECONDS}

    def _note(self, state: Resting) -> None:
        count, subject = len(laid_out(state.n, state.data)) - 1, self._subject(state)
        if state.ttl is not None and state.slept:
            place = (self._entity, self._shard, state.tenant, state.key)
            self._pages.pop(state_subject(*place), None)
        if count:
            self._pages[subject] = count
        else:
            self._pages.pop(subject, None)

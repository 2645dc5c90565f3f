"""What must hold at every moment of a history, checked when something is stored, sent or answered.

The judge keeps a model of every shard: what the journal alone says it is. It decides each command
again from the states that the journal leads to, so that an entry that does not follow is found.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from math import inf
from typing import Any

import anyio
import msgspec

from bus.codec import MessageDecoder, decode, encode
from bus.memory import MemoryStore
from bus.memory.states import MemoryStateStore
from bus.ports import Resting
from bus.requests.rpc import command
from bus.shard.book import START, ShardBook
from bus.streams.spec import StreamSpec
from bus.subjects import journal_subject, matches
from schemas.decision import Ask, Decision, Publish, by_id
from schemas.entity import Entity, EntityAddress
from schemas.executions import ENDED
from schemas.fleet import Offer, WorkerMessage
from schemas.journal import NOTHING, AtRest, CommandEnvelope, Commit, Entry
from schemas.ledger import Charged, Reserved, Voided
from schemas.terms import KeepTerms, Terms
from schemas.work import Lost, WorkItem
from tests.simulation.site import Site

AnyEntity = Entity[Any, Any, Any]
_message = MessageDecoder[WorkerMessage](WorkerMessage)
Stored = tuple[float, str, Any]
"""An event with the moment at which it was stored, and its tenant."""

SILENT_SECONDS = 1.5
"""So long a worker must have stood still at least, before its work is taken from it."""

MOST_AT_ONCE = 1
"""Items of a tenant that a worker of the simulation has places for."""

Books = Callable[[str], Iterable[ShardBook]]
"""Return the books of all who own, or believe to own, the shard of a journal subject."""

HEALED = 7.5
"""So many seconds after all trouble a refusal has no other reason than money."""

LATELY = 3.0
"""Seconds before an item was begun in which trouble still excuses that it is begun anew."""


class BrokenError(Exception):
    """A promise is broken; the text says which."""


class ShardModel:
    """A shard as its journal tells it."""

    def __init__(self, entity: AnyEntity) -> None:
        self.entity = entity
        self.n = 0
        self.epoch = 0
        self.owner = ""
        self.at = START
        self.assigned: dict[str, str] = {}
        self.states: dict[EntityAddress, Any] = {}
        self.histories: dict[EntityAddress, list[Any]] = defaultdict(list)
        self.replies: dict[tuple[EntityAddress, str], bytes] = {}
        self.places: dict[EntityAddress, tuple[int, int]] = defaultdict(lambda: (0, 0))
        self.past: dict[tuple[EntityAddress, int], tuple[int, bytes]] = {}
        self.rested: dict[EntityAddress, int] = defaultdict(int)
        self.forgotten = set[EntityAddress]()

    def count(self, address: EntityAddress, entry: Entry) -> None:
        """Take in the order of an entity's entries: none is missing, each names the one before."""
        n, last = self.places[address]
        if self.may_forget(address) and entry.base is not NOTHING and entry.n == 1:
            # It was restored from its record, which counts no entries and has no replies.
            n, last = self.rested[address], _ = 0, 0
            self.replies = {of: kept for of, kept in self.replies.items() if of[0] != address}
        if (entry.n, entry.after) != (n + 1, last):
            raise BrokenError(f"entry {entry.n} after {entry.after} follows entry {n} of {last}")
        self.places[address] = (entry.n, self.n)

    def may_forget(self, address: EntityAddress) -> bool:
        """Say whether an entity may have left with nothing but its record: at rest, or at once."""
        state = self.states.get(address)
        if self.entity.restore is None or state is None or not self.entity.ended(state):
            return False
        return address in self.forgotten or not self.rested.get(address)

    def follow(self, commit: Commit) -> None:
        """Take in the order of commits: no gap, one owner an epoch, no way back in time."""
        if commit.n != self.n + 1:
            raise BrokenError(f"commit {commit.n} follows commit {self.n}")
        if commit.owner is not None and commit.epoch == self.epoch + 1:
            self.epoch, self.owner = commit.epoch, commit.owner
        if (commit.epoch, commit.turn.rsplit(".", 2)[0]) != (self.epoch, self.owner):
            raise BrokenError(f"{commit.turn} appends in the epoch {self.epoch} of {self.owner}")
        if commit.at < self.at:
            raise BrokenError(f"commit {commit.n} is earlier than the one before it")
        self.n, self.at = commit.n, commit.at
        self.assigned |= commit.assigned


class Judge:
    """Sees everything that is stored, sent and answered."""

    def __init__(self, entities: Iterable[AnyEntity], blobs: dict[str, bytes]) -> None:
        self.shards: dict[str, ShardModel] = {}
        self.envelopes: dict[tuple[EntityAddress, str], list[msgspec.Raw]] = defaultdict(list)
        self.announced: set[tuple[str, bytes]] = set()
        self.records: set[tuple[str, bytes]] = set()
        self.told: defaultdict[str, set[bytes]] = defaultdict(set)
        self.terms: set[bytes] = set()
        self.opened: set[str] = set()
        self.begun: dict[str, tuple[Site, float]] = {}
        self.working_on: Counter[tuple[str, str]] = Counter()
        self.carried_out: Counter[tuple[str, str]] = Counter()
        self.broken: list[str] = []
        self.answers: list[tuple[CommandEnvelope, bytes]] = []
        self.journal: list[Stored] = []
        self.refusals: list[tuple[float, int]] = []
        self.quiet_since = inf
        self.heard: dict[tuple[str, bytes], set[bytes]] = defaultdict(set)
        self.books: Books = lambda _: ()
        self.entities = [self._overheard(entity) for entity in entities]
        self._entities = {entity.name: entity for entity in self.entities}
        self._blobs = blobs
        self.bodies: dict[str, bytes] = {}

    def _overheard(self, entity: AnyEntity) -> AnyEntity:
        """Return an entity whose answers are noted, if nothing else keeps them."""

        def decide(state: Any, command: Any, now: datetime) -> Decision:
            decision = entity.decide(state, command, now)
            if not (entity.keeps_replies and decision.events):
                self.heard[entity.name, encode(command)].add(encode(decision.reply))
            return decision

        return replace(entity, decide=decide)

    # What others tell the judge

    def asked(self, envelope: CommandEnvelope) -> None:
        """Remember a command, to decide it again when its entry is stored."""
        bodies = self.envelopes[(envelope.tenant, envelope.key), envelope.id]
        if envelope.body not in bodies:
            bodies.append(envelope.body)

    def is_quiet(self, seconds: float) -> bool:
        """Say whether there has been no trouble for so long."""
        return anyio.current_time() >= self.quiet_since + seconds

    def refused(self, amount: int) -> None:
        """Note for how much there was no money, if nothing but money was in the way."""
        if self.is_quiet(HEALED):
            self.refusals.append((anyio.current_time(), amount))

    def committed(self, subject: str, data: bytes) -> None:
        """Check a commit that was just stored."""
        name = subject.split(".")[2]
        shard = self.shards.setdefault(subject, ShardModel(self._entities[name]))
        commit = decode(Commit, data)
        try:
            shard.follow(commit)
            for entry in commit.entries:
                self._enter(shard, self._whole(entry))
            self._compare(subject, commit)
        except BrokenError as error:
            self._break(f"{subject}: {error}")

    def published(self, subject: str, data: bytes) -> None:
        """Check that a stored message follows from what is committed."""
        if not subject.startswith("cb."):
            return
        if (subject, data) not in self.announced and (subject, data) not in self.records:
            self._break(f"published before its commit: {subject} {data.decode()}")

    def termed(self, before: Terms | None, terms: Terms) -> None:
        """Check that stored terms follow from what is committed, and take the place of older."""
        if encode(terms) not in self.terms:
            self._break(f"terms stored before their commit: {terms}")
        if before is not None and before.revision >= terms.revision:
            self._break(f"terms {terms.revision} stored over {before.revision}")

    def offered(self, worker: str, offer: Offer) -> None:
        """Check that an item is offered to the worker that the newest commit names for it."""
        if offer.name not in self.opened:
            self._break(f"work item offered before its commit: {offer.name}")
        shard = self.shards[offer.shard]
        named = shard.assigned.get(offer.name)
        if offer.epoch == shard.epoch and named != worker:
            self._break(f"{offer.name} is offered to {worker}, the journal names {named}")

    def began(self, item: str, site: Site) -> None:
        """Check that nobody else has begun a work item."""
        if item in self.begun:
            self._break(f"begun twice: {item}")
        self.begun[item] = (site, anyio.current_time())
        site.begins()

    @contextmanager
    def working(self, item: str, site: Site) -> Generator[None]:
        """Check that a site works on an item, and no more at once of its queue than it may."""
        self.began(item, site)
        queue = (site.name, item.partition(".")[0])
        self.working_on[queue] += 1
        if self.working_on[queue] > MOST_AT_ONCE:
            self._break(f"{site.name} works on too much at once: {item}")
        try:
            yield
        finally:
            self.working_on[queue] -= 1

    def missed(self, tenant: str, key: str, body: str) -> None:
        """Check that a body which is not there belongs to what has ended."""
        states = [shard.states.get((tenant, key)) for shard in self.shards.values()]
        if any(state is not None and state.status not in ENDED for state in states):
            self._break(f"the body of {key}, which has not ended, is gone: {body}")

    def whole(self, entity: AnyEntity, publication: Publish) -> Publish:
        """Return a publication with what it lacks, from all bodies that were ever stored."""
        if publication.lacks is None or entity.filled is None:
            return publication
        body = entity.filled(publication.body, self.bodies[publication.lacks.name], None)
        return msgspec.structs.replace(publication, body=body, lacks=None)

    def answered(self, subject: str, envelope: CommandEnvelope, reply: bytes) -> None:
        """Check an answer that a caller has received."""
        self.answers.append((envelope, reply))
        address = (envelope.tenant, envelope.key)
        shard = self.shards.get(subject)
        stored = shard.replies.get((address, envelope.id)) if shard else None
        if stored is None:
            if _claims_a_commit(reply) and not (shard and address in shard.states):
                self._break(
                    f"answered before its commit: {envelope.id} of {envelope.key}: {reply!r}"
                )
        elif reply != stored and shard and not shard.may_forget(address):
            self._break(
                f"another answer to {envelope.id} of {envelope.key}: {reply!r}, not {stored!r}"
            )

    # Following the journal

    def _compare(self, subject: str, commit: Commit) -> None:
        """Check that what a turn has opened and closed leads to what its states list."""
        for book in self.books(subject):
            if (book.epoch, book.n) != (commit.epoch, commit.n - 1):
                continue
            for entry in commit.entries:
                slot = book.slots[entry.tenant, entry.key]
                is_listed = slot.state is not None and (entry.tenant, entry.key) not in book.corrupt
                if is_listed and slot.open != by_id(book.entity.effects(slot.state)):
                    raise BrokenError(f"{entry.command!r} of {entry.key} has left {[*slot.open]}")

    def _whole(self, entry: Entry) -> Entry:
        if entry.blob is None:
            return entry
        if entry.blob not in self._blobs:
            raise BrokenError(f"the blob of {entry.command} is not there")
        return decode(Entry, self._blobs[entry.blob])

    def _enter(self, shard: ShardModel, entry: Entry) -> None:
        address = (entry.tenant, entry.key)
        shard.count(address, entry)
        state = self._base(shard, address, entry)
        if not any(self._agrees(shard, state, entry, body) for body in self._bodies(shard, entry)):
            raise BrokenError(f"no command leads to {entry.command!r}: {encode(entry).decode()}")
        if entry.events:
            self._check_replaced(entry.command)
        for raw in entry.events:
            event = decode(shard.entity.event_type, raw)
            before, state = state, shard.entity.evolve(state, event)
            shard.histories[address].append(event)
            self.journal.append((anyio.current_time(), entry.tenant, event))
            for publication in shard.entity.announce(before, event, state):
                if publication.stored:
                    whole = self.whole(shard.entity, publication)
                    self.announced.add((whole.subject, encode(whole.body)))
        self._note(shard, address, state, entry)

    def _note(self, shard: ShardModel, address: EntityAddress, state: Any, entry: Entry) -> None:
        is_known = (address, entry.command) in shard.replies
        if entry.command and is_known and not shard.may_forget(address):
            raise BrokenError(f"{entry.command} of {entry.key} was decided twice")
        if entry.reply is not NOTHING and entry.command:
            shard.replies[address, entry.command] = bytes(entry.reply)
        shard.past[address, entry.n] = (shard.n, encode(state))
        if state is None:
            return
        shard.states[address] = state
        if shard.entity.record is not None and (kept := shard.entity.record(state)):
            record = self.whole(shard.entity, kept)
            self.records.add((record.subject, encode(record.body)))
        for effect in shard.entity.effects(state):
            if isinstance(effect, WorkItem):
                self.opened.add(effect.id)
            elif isinstance(effect.command, KeepTerms):
                self.terms.add(encode(effect.command.terms))
            else:
                self.asked(command(effect.id, effect.tenant, effect.key, effect.command))

    def _check_replaced(self, command: str) -> None:
        """Check that work is taken from no worker that is there and has it."""
        reason, _, item = command.partition(".")
        if item not in self.begun or reason != "lost":
            return
        site, at = self.begun[item]
        if not site.was_silent(at - LATELY, at_least=SILENT_SECONDS):
            raise BrokenError(f"{item} is taken from {site.name}, which has it")

    def _base(self, shard: ShardModel, address: EntityAddress, entry: Entry) -> Any:
        """Return the state that an entry starts from."""
        state = shard.states.get(address)
        if entry.base is not NOTHING and bytes(entry.base) != encode(state):
            return self._restored(shard, address, entry, state)
        if state is None and entry.events and shard.histories.get(address):
            raise BrokenError(f"{entry.key} begins twice")
        return shard.entity.initial(*address) if state is None else state

    def _restored(self, shard: ShardModel, address: EntityAddress, entry: Entry, state: Any) -> Any:
        """Return the state of the record, if an entry of what was forgotten starts from that."""
        restored = self.restored(shard, address, state)
        if restored is not None and encode(restored) == bytes(entry.base):
            return restored
        raise BrokenError(f"{entry.key} goes on from a state that nothing leads to: {entry.base!r}")

    def restored(self, shard: ShardModel, address: EntityAddress, state: Any) -> Any:
        """Return the state that the record brings back of what may be forgotten, None if none."""
        record, restore = shard.entity.record, shard.entity.restore
        if record is None or restore is None or not shard.may_forget(address):
            return None
        kept = record(state)
        return restore(address[0], encode(self.whole(shard.entity, kept).body)) if kept else None

    def _bodies(self, shard: ShardModel, entry: Entry) -> Iterator[Any]:
        """Yield every command that may have led to an entry."""
        entity, address = shard.entity, (entry.tenant, entry.key)
        if not entry.command:
            yield entity.tick
        for body in self.envelopes.get((address, entry.command), ()):
            yield decode(entity.command_type, body)
        state = shard.states.get(address)
        for effect in entity.effects(state) if state is not None else ():
            if isinstance(effect, Ask):
                if entry.command == f"answer.{effect.id}":
                    for answer in self._answers_to(effect):
                        yield entity.answered(effect, answer)
            elif entry.command == f"lost.{effect.id}":
                yield Lost(work=effect.work, attempt=effect.attempt, begun=True)

    def _answers_to(self, ask: Ask) -> list[bytes]:
        """Return what was answered to an ask, by the journal of the one who was asked."""
        address, found = (ask.tenant, ask.key), sorted(self.told.get(ask.id, ()))
        for shard in self.shards.values():
            if shard.entity.name != ask.entity:
                continue
            stored = shard.replies.get((address, ask.id))
            if stored is not None:
                found.append(stored)
            history = shard.histories.get(address, [])
            heard = self.heard[ask.entity, encode(ask.command)]
            found += [said for said in sorted(heard) if shows(history, ask.command, said)]
        if not found:
            raise BrokenError(f"answered before the other's commit: {ask.id}")
        return found

    def _agrees(self, shard: ShardModel, state: Any, entry: Entry, command: Any) -> bool:
        """Say whether deciding a command again gives what was stored."""
        try:
            decision = shard.entity.decide(state, command, shard.at)
        except ArithmeticError:
            return not entry.events
        events = [encode(event) for event in decision.events]
        is_kept = bool(entry.command) and shard.entity.keeps_replies
        reply = encode(decision.reply) if decision.reply is not None and is_kept else b"null"
        return (events, reply) == ([bytes(raw) for raw in entry.events], bytes(entry.reply))

    def rested(self, place: tuple[str, int], states: Sequence[Resting]) -> None:
        """Check states at rest that were just stored: the journal leads to each, none goes back."""
        shard = self.shards[journal_subject(*place)]
        for state in states:
            address, image = (state.tenant, state.key), decode(AtRest, state.data)
            stored = (image.last, bytes(image.state))
            if shard.past.get((address, image.n)) != stored:
                self._break(f"{address} is put to rest as what it never was: {image}")
            if image.n < shard.rested[address]:
                self._break(f"{address} at rest goes back to entry {image.n}")
            shard.rested[address] = image.n
            kept = (each for page in image.replies.values() for each in page.items())
            for name, reply in kept:
                if shard.replies.get((address, name)) != bytes(reply.reply):
                    self._break(f"{address} at rest has an answer that it never gave: {name}")

    def _break(self, what: str) -> None:
        self.broken.append(what)


def shows(history: Iterable[Any], command: Any, answer: bytes) -> bool:
    """Say whether a journal shows what an account has answered; a refusal needs no trace."""
    kinds = {b'{"type":"held"': (Reserved,), b'{"type":"booked"': (Charged, Voided)}
    wanted = next((kind for start, kind in kinds.items() if answer.startswith(start)), None)
    reference = getattr(command, "reference", None)
    return not (wanted and reference) or any(
        isinstance(event, wanted) and event.reference == reference for event in history
    )


def _claims_a_commit(reply: bytes) -> bool:
    answer = msgspec.json.decode(reply)
    return "stream" in answer or answer.get("type") == "granted" or bool(answer.get("accepted"))


class JudgedStates(MemoryStateStore):
    """Stored states that the judge is shown."""

    judge: Judge

    def write(self, shard: tuple[str, int], states: Sequence[Resting], owner: int) -> None:
        super().write(shard, states, owner)
        if owner != self._owners[shard].sequence:
            self.judge.broken.append(f"a former owner has put {states} of {shard} to rest")
        self.judge.rested(shard, states)

    def forget(self, shard: tuple[str, int], below: int) -> list[EntityAddress]:
        gone = super().forget(shard, below)
        self.judge.shards[journal_subject(*shard)].forgotten.update(gone)
        return gone


class JudgedStore(MemoryStore):
    """A store that shows the judge what is stored."""

    def __init__(self, specs: Iterable[StreamSpec]) -> None:
        super().__init__(specs)
        self.judge: Judge

    def keep(self, subject: str, data: bytes, *, message_id: str | None = None) -> bool:
        if matches("_cb.sys.offer.*", subject) and data:
            envelope = _message(data)
            if isinstance(envelope, Offer):
                self.judge.offered(subject.removeprefix("_cb.sys.offer."), envelope)
        is_kept = super().keep(subject, data, message_id=message_id)
        if is_kept and matches("cb.>", subject):
            self.judge.published(subject, data)
        return is_kept

    def append(self, name: str, subject: str, data: bytes, expected: int) -> int:
        sequence = super().append(name, subject, data, expected)
        self.judge.committed(subject, data)
        return sequence

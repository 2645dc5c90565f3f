"""Golden journals: the stored bytes of a shard's life, and the state they lead to.

Each ``golden_journals/execution.v<n>.json`` holds the commits of one shard as they were written by
some version of this program, and the snapshot that lies among them; these bytes never change, and
what is written today is the newest. The file ``….states.json`` beside it holds all entities as they
stand in the end, however the shard is recovered. It may gain a field that ``evolve`` now fills.
"""

import hashlib
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from actors.agents.actor import execution_entity
from bus.codec import decode, encode
from bus.rpc import command
from bus.shard.book import Book
from bus.shard.turn import Letter, take_turn
from schemas.journal import Commit, SlotImage, Snapshot, SnapshotRef
from schemas.ledger import Charge
from schemas.lifecycle import (
    Accept,
    Cancel,
    Claim,
    Deltas,
    DueAnswered,
    FailGeneration,
    FinishGeneration,
    Origin,
    Redispatch,
    ReserveAnswered,
    Spending,
    Tick,
)
from schemas.llm import Answer, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.usage import Usage

FOLDER = Path(__file__).parent / "golden_journals"
_JOURNAL = re.compile(r"\.v\d+\.json$")
BEGAN = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
DELTAS = Deltas(count=2, sha256=hashlib.sha256(b"Hello.").hexdigest())
OVERLOADED = Problem(code="provider_overloaded", message="try again later", retryable=True)


class GoldenJournal(msgspec.Struct):
    """A shard's life as bytes: message ``n`` of the stream is ``commits[n - 1]``."""

    commits: list[msgspec.Raw]
    snapshot: msgspec.Raw


class Recorder:
    """Takes turns as an owner does and keeps the bytes that it would store."""

    def __init__(self) -> None:
        self.book: Book = Book(execution_entity())
        self.commits: list[msgspec.Raw] = []
        self.snapshot = msgspec.Raw(b"null")
        self._newest: SnapshotRef | None = None
        self._now = BEGAN

    def take_over(self) -> None:
        """Begin the next epoch."""
        self._store(epoch=self.book.epoch + 1, owner=f"agents-{self.book.epoch + 1}", entries=[])

    def turn(self, *letters: Letter, seconds: float = 1.0) -> None:
        """Decide letters, so many seconds later."""
        self._now += timedelta(seconds=seconds)
        entries = take_turn(self.book, letters, self._now).entries
        self._store(epoch=self.book.epoch, entries=entries)

    def take_snapshot(self) -> None:
        """Take a snapshot; the next commit points to it."""
        self.snapshot = msgspec.Raw(encode(self.book.image()))
        name = hashlib.sha256(self.snapshot).hexdigest()
        self._newest = SnapshotRef(blob=name, n=self.book.n, sequence=self.book.n)

    def golden(self) -> GoldenJournal:
        """Return all of it."""
        return GoldenJournal(self.commits, self.snapshot)

    def _store(self, *, epoch: int, entries: list[Any], owner: str | None = None) -> None:
        n = self.book.n + 1
        commit = Commit(
            n=n,
            epoch=epoch,
            turn=f"agents-{epoch}.{epoch}.{n}",
            at=self._now,
            version=self.book.entity.version,
            owner=owner,
            generation="2026-01-01T00:00:00Z",
            settled=max(0, n - 3),
            snapshot=self._newest,
            entries=entries,
        )
        self.commits.append(msgspec.Raw(encode(commit)))
        self.book.mark(commit)


def states(book: Book) -> list[SlotImage]:
    """Return the entities of a book in an order that does not depend on how it came to be."""
    image = decode(Snapshot, encode(book.image()))
    return sorted(image.slots, key=lambda slot: (slot.tenant, slot.key))


def replayed(golden: GoldenJournal) -> bytes:
    """Return the entities that all commits lead to, as they are stored today."""
    book: Book = Book(execution_entity())
    for commit in (decode(Commit, raw) for raw in golden.commits):
        book.replay(commit, commit.entries)
    return encode(states(book))


def paths() -> list[Path]:
    """Return the golden journals, oldest first."""
    found = (path for path in FOLDER.iterdir() if _JOURNAL.search(path.name))
    return sorted(found, key=lambda path: int(path.suffixes[0][2:]))


def states_of(path: Path) -> Path:
    """Return where the states that a golden journal leads to stand."""
    return path.with_suffix(".states.json")


def read(path: Path) -> GoldenJournal:
    """Return what a file holds."""
    return decode(GoldenJournal, path.read_bytes())


def wanted() -> dict[Path, bytes]:
    """Return the newest journal and the states of all, and what they should hold."""
    written = paths()
    newest = written[-1] if written else FOLDER / "execution.v1.json"
    leads_to = {states_of(path): replayed(read(path)) for path in written}
    return {newest: encode(recorded())} | leads_to


def recorded() -> GoldenJournal:
    """Live through every event of an execution, a change of owner and a snapshot."""
    recorder = Recorder()
    recorder.take_over()
    recorder.turn(*(_accept(name) for name in ("done", "spent", "stopped", "late")))
    recorder.turn(_letter("done", Claim(step=1, attempt=1, lost=False)))
    recorder.turn(_fail("spent", 1), _letter("stopped", Redispatch(step=1, attempt=1)))
    recorder.take_snapshot()
    recorder.turn(_finish("done", 1), _letter("late", Claim(step=1, attempt=1, lost=True)))
    recorder.take_over()
    recorder.turn(_letter("spent", Tick(), name=""), _finish("late", 1), seconds=40)
    recorder.turn(_fail("spent", 2), _letter("stopped", Cancel(reason="enough")))
    recorder.turn(_letter("late", Tick(), name=""), seconds=60)
    _spend(recorder)
    return recorder.golden()


def _spend(recorder: Recorder) -> None:
    """Live through what lies between an execution and the account of its tenant."""
    refused = Problem(code="rate_limited", message="too often", retryable=True, retry_after=1.0)
    recorder.turn(_accept("paid", Spending(amount_pico=900, tokens=50, waits=True)))
    recorder.turn(_reserved("paid", attempt=1, asked=1, problem=refused))
    recorder.turn(_letter("paid", Tick(), name=""), seconds=2)
    recorder.turn(_reserved("paid", attempt=1, asked=2))
    recorder.turn(_letter("paid", Claim(step=1, attempt=1, lost=True)))
    recorder.turn(_reserved("paid", attempt=2, asked=1), _fail("paid", 1, spent=False))
    recorder.turn(_letter("paid", DueAnswered(ask="paid.1.1.void")), _finish("paid", 2))


def _reserved(key: str, *, attempt: int, asked: int, problem: Problem | None = None) -> Letter:
    body = ReserveAnswered(step=1, attempt=attempt, asked=asked, problem=problem)
    return _letter(key, body, name=f"answer.{attempt}.{asked}")


Command = (
    Accept
    | Cancel
    | Claim
    | DueAnswered
    | FailGeneration
    | FinishGeneration
    | Redispatch
    | ReserveAnswered
    | Tick
)


def _letter(key: str, body: Command, *, name: str | None = None) -> Letter:
    given = f"{body.__struct_config__.tag}.{key}" if name is None else name
    return Letter(command(given, "acme", key, body, digest="2cf2"))


def _accept(key: str, spending: Spending | None = None) -> Letter:
    origin = Origin(
        tenant="acme",
        execution_id=key,
        agent_id="reviewer",
        agent_version=3,
        task="Say it: ä, 中, 🙂.",
        digest="2cf2",
        max_attempts=2,
        session="monday",
    )
    request = GenerateRequest(provider=Scripted(responses=["Hello."]), messages=[])
    wanted = Accept(origin=origin, request=request, timeout_seconds=90.0, spending=spending)
    return _letter(key, wanted)


def _finish(key: str, attempt: int) -> Letter:
    answer = Answer(text="Hello.", finish_reason="stop", usage=Usage(input=12, output=2))
    body = FinishGeneration(
        step=1,
        attempt=attempt,
        answer=answer,
        deltas=DELTAS,
        started_at=BEGAN,
        charges=[Charge(provider="scripted", model="m", usage=answer.usage, cost_pico=14)],
        decided_at=BEGAN,
    )
    return _letter(key, body)


def _fail(key: str, attempt: int, *, spent: bool = True) -> Letter:
    body = FailGeneration(
        step=1,
        attempt=attempt,
        problem=OVERLOADED,
        deltas=DELTAS,
        started_at=BEGAN,
        usage=Usage(output=1) if spent else None,
        charges=None if spent else [],
    )
    return _letter(key, body, name=f"fail.{attempt}.{key}")

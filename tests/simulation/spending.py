"""Executions beside the account they are paid from, both as they are in a fleet.

Executions reserve before each attempt, workers extend what is held while they write, bills and
tombstones follow; all of it as commands between entities whose owners die.
"""

import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from actors.agents.core.entity import EXECUTION
from bus.codec import decode
from schemas.bills import BillSlices, Spending
from schemas.ledger import Charge
from schemas.lifecycle import (
    Accepted,
    AttemptFailed,
    AttemptStarted,
    ExecutionEvent,
    FailGeneration,
    FinishGeneration,
    GenerationFinished,
    UsageSettled,
)
from schemas.problems import Problem
from schemas.spend import HoldVoided
from tests.books import Books, kept
from tests.simulation import ledger
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.paying import CHUNK, RATE, cost_of
from tests.simulation.plan import USERS, Event, troubles

_REPORT: Any = FinishGeneration | FailGeneration
_REPORTS = (b'{"type":"finish_generation"', b'{"type":"fail_generation"')


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    return (EXECUTION, *ledger.entities())


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [_budget(chance), *_executions(chance), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _budget(chance: random.Random) -> Event:
    values = {"key": "tight", "limit": RATE * chance.randint(10, 60), "user": None}
    return Event(0.55, "sets a budget", "ann", values)


def _executions(chance: random.Random) -> Iterator[Event]:
    for number in range(chance.randint(2, 6)):
        key, at = f"e{number}", chance.uniform(0.6, 3.5)
        asked = {
            "key": key,
            "digest": "d",
            "timeout": chance.choice([1.0, 2.0, 6.0]),
            "most": chance.randint(1, 16),
            "slice": chance.choice([None, None, 3]),
            "waits": chance.random() < 0.3,
        }
        who = chance.choice(USERS)
        yield Event(at, "executes", who, asked)
        if chance.random() < 0.2:
            yield Event(at + chance.choice([0.0, 0.5, 2.0]), "executes", who, asked)
        if chance.random() < 0.25:
            later = at + chance.uniform(0.0, 2.0)
            yield Event(later, "cancels", chance.choice(USERS), {"key": key})


def spending_of(most: int, slice: int | None, *, waits: bool) -> Spending:  # noqa: A002  it is one
    """Return what an attempt of at most so many tokens may cost, or its first slice of so many."""
    amount, slices = most * RATE, None
    if slice is not None:
        amount = min(most, slice) * RATE
        slices = BillSlices(slice_pico=slice * RATE, input_pico=0, output_pico=RATE)
    return Spending(amount_pico=amount, tokens=most, waits=waits, slices=slices)


# What must hold


class Told:
    """What the journals of executions say of attempts, each by its name at the account."""

    def __init__(self, histories: Iterable[list[ExecutionEvent]]) -> None:
        self.started: set[str] = set()
        self.over: set[str] = set()
        self.charged: defaultdict[str, list[Charge]] = defaultdict(list)
        self.sliced: set[str] = set()
        for history in histories:
            first = history[0]
            assert isinstance(first, Accepted)
            for event in history[1:]:
                self._enter(first, event)

    def _enter(self, first: Accepted, event: ExecutionEvent) -> None:
        execution = first.origin.execution_id
        match event:
            case AttemptStarted():
                self.started.add(name := f"{execution}.{int(event.work)}.{event.attempt}")
                if first.spending is not None and first.spending.slices is not None:
                    self.sliced.add(name)
            case GenerationFinished() | AttemptFailed() | UsageSettled() | HoldVoided():
                name = f"{execution}.{int(event.work)}.{event.attempt}"
                charges = [] if isinstance(event, HoldVoided) else event.charges
                if charges is not None:
                    self.over.add(name)
                    self.charged[name] += charges
            case _:
                pass


def faults_of_spending(judge: Judge) -> Iterator[str]:
    """Yield what does not agree between executions and the account."""
    executions: list[list[ExecutionEvent]] = []
    books = Books()
    for shard in judge.shards.values():
        if shard.entity.name == ledger.ENTITY:
            for history in shard.histories.values():
                books, _ = kept(history)
        else:
            executions.extend(shard.histories.values())
    told = Told(executions)
    yield from _bills(told, books)
    yield from _reports(judge, books)
    yield from _holds(told, books)
    yield from _refusals(judge)


def _bills(told: Told, books: Books) -> Iterator[str]:
    """Yield attempts whose bill is not their usage at its rate, or that nobody has made."""
    for name, charges in told.charged.items():
        if books.paid.get(name, 0) != cost_of(charges):
            yield f"{name} was charged {books.paid.get(name)}, not {cost_of(charges)}"
    yield from (f"{name} was paid and never billed" for name in books.paid - told.charged.keys())


def _reports(judge: Judge, books: Books) -> Iterator[str]:
    """Yield what a worker was told is settled, and was not paid for."""
    for envelope, reply in judge.answers:
        if not (
            bytes(envelope.body).startswith(_REPORTS) and reply.startswith(b'{"type":"settled"')
        ):
            continue
        said = decode(_REPORT, envelope.body)
        name, cost = f"{envelope.key}.{said.work}.{said.attempt}", cost_of(said.charges or ())
        if books.paid.get(name, 0) != cost:
            yield f"{name} has used {cost}, and {books.paid.get(name)} was paid"


def _holds(told: Told, books: Books) -> Iterator[str]:
    """Yield attempts that began without leave, and holds whose end does not fit what was told."""
    yield from (f"{name} began without leave" for name in told.started - books.reserved.keys())
    for name in books.reserved:
        if name in told.over or name not in told.started:
            wanted = "Charged" if told.charged.get(name) else "Voided"
            if wanted not in books.ends.get(name, ()) and (wanted, books.paid.get(name)) != (
                "Voided",
                0,
            ):
                yield f"{name} is not {wanted}, but {books.ends.get(name)}"
    for name, cost in books.paid.items():
        allowed = books.granted[name] + (CHUNK * RATE if name in told.sliced else 0)
        if cost > allowed:
            yield f"{name} cost {cost} of {allowed}"


def _refusals(judge: Judge) -> Iterator[str]:
    """Yield reservations that were refused though they fit."""
    for (_, body), answers in judge.heard.items():
        for answer in answers:
            if not answer.startswith(b'{"type":"problem"'):
                continue
            said = msgspec.json.decode(answer, type=Problem).details
            wanted = said.get("wanted_pico")
            if wanted and said["spent_pico"] + said["held_pico"] + wanted <= said["limit_pico"]:
                yield f"refused though it fits: {body!r}: {answer!r}"

"""An execution of which part cannot be read ends as failed; what it owes is settled."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from actors.agents.core.entity import EXECUTION
from actors.agents.core.outward import record
from bus.codec import decode, encode
from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.turn import Outcome, PendingCommand, quarantine, take_turn
from schemas.bills import Spending
from schemas.events import ExecutionFailedEvent
from schemas.executions import ExecutionRecord
from schemas.fleet import StopWork
from schemas.journal import Commit
from schemas.ledger import Charge, MoneyHeld, Reserve, Settle, Void
from schemas.lifecycle import ExecutionCommand, Look, Looked, Tick
from schemas.streams import Failed
from schemas.usage import Usage
from schemas.work import Settled
from tests.unit.agents import runs
from tests.unit.agents.runs import NOW, OVERLOADED

ADDRESS = ("acme", "e1")
CHARGE = Charge(provider="scripted", model="m-1", usage=Usage(output=1), cost_pico=70)
SPENDING = Spending(amount_pico=900, tokens=50)


class Shard:
    """The shard of one execution, with its journal."""

    def __init__(self) -> None:
        self.book = ShardBook(EXECUTION)
        self.journal: list[Commit] = []

    def take(self, *bodies: ExecutionCommand) -> Outcome:
        number = len(self.journal)
        batch = [
            PendingCommand(command(f"{number}.{place}", *ADDRESS, body), "answer")
            for place, body in enumerate(bodies)
        ]
        return self._stored(take_turn(self.book, batch, NOW))

    def damaged(self, record: bytes | None = None) -> Outcome:
        self.book.condemn(ADDRESS, "what was written")
        return self._stored(quarantine(self.book, NOW, 10_000, {ADDRESS: record}))

    def again(self) -> ShardBook:
        """Return the shard as its next owner reads it."""
        book = ShardBook(EXECUTION)
        for commit in self.journal:
            book.replay(commit, commit.entries)
        return book

    def shown(self) -> ExecutionRecord:
        return decode(Looked, self.take(Look()).replies[0][1]).record

    def _stored(self, outcome: Outcome) -> Outcome:
        n = len(self.journal) + 1
        self.journal.append(Commit(n=n, epoch=1, turn="", at=NOW, entries=outcome.entries))
        self.book.mark(self.journal[-1])
        return outcome


def accepted(spending: Spending | None = None) -> Shard:
    shard = Shard()
    shard.take(msgspec.structs.replace(runs.accept(), spending=spending))
    return shard


def holding() -> Shard:
    """Return a shard whose execution has leave to spend, and a worker that answers it."""
    shard = accepted(SPENDING)
    ((_, ask),) = shard.book.open_asks()
    assert isinstance(ask.command, Reserve)
    shard.take(EXECUTION.answered(ask, encode(MoneyHeld(held_pico=900))))
    assert [work for _, work in shard.book.open_work()]
    return shard


def told(outcome: Outcome, kind: type[Any]) -> list[Any]:
    return [each.body for each in outcome.publications if isinstance(each.body, kind)]


def asked(shard: Shard) -> Sequence[object]:
    return [ask.command for _, ask in shard.book.open_asks()]


def test_it_ends_as_failed_in_record_event_and_stream_and_its_work_is_called_off():
    shard = holding()
    outcome = shard.damaged()
    shown = shard.shown()

    (failed,), (event,), (stop,) = (
        told(outcome, kind) for kind in (Failed, ExecutionFailedEvent, StopWork)
    )
    stored = record(outcome.touched[ADDRESS])
    assert (shown.status, shown.error) == (stored.status, stored.error) == ("FAILED", failed.error)
    assert failed.error.code == event.error.code == "corrupt"
    assert stop.item == "execution.acme.e1.1.1"
    assert not list(shard.book.open_work())
    assert shard.again().slots[ADDRESS].state == shard.book.slots[ADDRESS].state


def test_what_its_worker_has_spent_is_booked_against_its_hold():
    shard = holding()
    shard.damaged()
    late = msgspec.structs.replace(runs.fail(1, OVERLOADED, Usage(output=1)), charges=[CHARGE])

    outcome = shard.take(late)

    assert decode(Settled, outcome.replies[0][1]) == Settled(accepted=False)
    (settle,) = asked(shard)
    assert isinstance(settle, Settle)
    assert [charge.cost_pico for charge in settle.charges] == [70]
    assert shard.shown().cost == 70
    assert [ask.command for _, ask in shard.again().open_asks()] == [settle]


def test_a_hold_of_which_nothing_was_spent_is_released():
    shard = holding()
    shard.damaged()
    shard.take(msgspec.structs.replace(runs.fail(1), charges=[]))
    assert [type(each) for each in asked(shard)] == [Void]


def test_leave_to_spend_that_was_asked_for_is_given_back_at_once():
    shard = accepted(SPENDING)
    outcome = shard.damaged()
    assert [type(ask.command) for _, ask in outcome.asked] == [Void]


def test_its_timers_ring_as_those_of_any_that_has_ended():
    shard = accepted(SPENDING)
    shard.damaged()
    assert shard.book.next_due is not None
    assert shard.take(Tick()).replies == []


def test_an_end_that_is_stored_holds():
    whole = accepted()
    whole.take(runs.finish(1))
    stored = whole.shown()
    shard = accepted()

    outcome = shard.damaged(encode(stored))

    assert (stored.status, stored.output) == ("COMPLETED", "answer 1")
    assert shard.shown() == stored
    assert told(outcome, Failed) == []


@pytest.mark.parametrize("known", [True, False], ids=["in part", "by its record alone"])
def test_its_end_is_newer_than_what_lists_and_streams_have_shown(known: bool):
    ahead = accepted()
    for attempt in (1, 2):
        ahead.take(runs.fail(attempt, msgspec.structs.replace(OVERLOADED, retry_after=0.0)))
        ahead.take(Tick())
    stored = ahead.shown()
    shard = accepted() if known else Shard()

    shard.damaged(encode(stored))

    ended = shard.shown()
    assert ended.status == "FAILED"
    assert ended.revision > stored.revision
    assert ended.segment > stored.segment
    assert (ended.task, ended.created_at) == (stored.task, stored.created_at)


@pytest.mark.parametrize("stored", [None, b"", b"{}", b'{"status":"COMPLETED"}'])
def test_one_of_which_only_the_id_is_known_fails_as_well(stored: bytes | None):
    shard = Shard()
    shard.damaged(stored)
    shown = shard.shown()
    assert (shown.status, shown.execution_id) == ("FAILED", "e1")
    assert shown.error is not None
    assert shown.error.code == "corrupt"

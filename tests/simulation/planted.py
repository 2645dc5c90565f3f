"""Faults planted in the mechanisms, to see that the simulation finds them.

Each is what somebody could write by mistake. ``within`` is in how many seeds, from 1 on, it must
show, and ``seed`` the first in which it last did: tests play that one, and look for another only
where it no longer shows the fault. ``make planted`` tells them all.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple
from unittest.mock import patch

import msgspec
from anyio.abc import TaskGroup

from bus.errors import UnavailableError
from bus.memory import MemoryStore
from bus.memory.states import MemoryStateStore
from bus.ports import Journal, Resting
from bus.shard import recovery, takeover
from bus.shard.asks import Asker
from bus.shard.bodies import Leftovers
from bus.shard.book import Picture, ShardBook
from bus.shard.dispatch import WorkDispatch
from bus.shard.effects import EffectSender
from bus.shard.owner import ShardOwner
from bus.shard.purging import Purge
from bus.shard.recovery import Recovered
from bus.shard.rest import Rest
from bus.shard.snapshots import Snapshots
from bus.shard.turn import Outcome
from bus.work.assignments import Assignment
from bus.work.grants import OfferEndpoint, TakenItem
from bus.work.registry import WorkerRegistry
from bus.work.worker import Worker
from schemas.attempts import Attempts
from schemas.fleet import Held, InventoryRequest, Offer
from schemas.journal import Commit, SnapshotRef
from tests.simulation.history import FLEET, History, Story, failures

STORE = ShardOwner._store
PICTURE = ShardBook.picture
ASK_HOLDER = takeover.ask_holder
TAKE_OVER = recovery.take_over
REPLY = Asker._reply
OWNER_COMMIT = recovery._owner_commit
STATE_WRITE = MemoryStateStore.write


class Planted(NamedTuple):
    """A fault: what is replaced by what, and how soon that must be found."""

    name: str
    target: str
    by: Any
    within: int
    seed: int = 1

    def plant(self) -> AbstractContextManager[Any]:
        """Put the fault in its place while the context is open."""
        return patch(self.target, self.by, create=True)

    def found(self, story: Story = FLEET) -> History | None:
        """Return a history that shows the fault, None if there is none within its seeds."""
        with self.plant():
            return next(failures((self.seed, *range(1, self.within + 1)), story), None)


async def not_done(*_: Any, **__: Any) -> None:
    """Do nothing where something was to be done."""


def forgotten(*_: Any, **__: Any) -> None:
    """Do nothing where something was to be noted."""


def append_anyhow(store: MemoryStore, name: str, subject: str, data: bytes, expected: int) -> int:
    del expected
    return store._streams[name].keep(subject, data, None)


async def believe_unanswered(journal: Journal, subject: str, commit: Commit, expected: int) -> int:
    try:
        return await journal.append(subject, msgspec.json.encode(commit), expected=expected)
    except UnavailableError:
        return expected + 1


def same_epoch(last: Commit | None, *rest: Any) -> Commit:
    claim = OWNER_COMMIT(last, *rest)
    return msgspec.structs.replace(claim, epoch=last.epoch) if last else claim


async def reply_first(owner: ShardOwner, outcome: Outcome, now: datetime) -> None:
    await owner._sender.send(owner.book.n, Outcome(replies=outcome.replies))
    outcome.replies = []
    await STORE(owner, outcome, now)


async def work_first(owner: ShardOwner, outcome: Outcome, now: datetime) -> None:
    dispatch = owner._sender._dispatch
    dispatch.name(outcome.opened)
    dispatch.are_named()
    await dispatch.assign(outcome.opened)
    await STORE(owner, outcome, now)


async def publish_first(owner: ShardOwner, outcome: Outcome, now: datetime) -> None:
    for publication in outcome.publications:
        await owner._sender.publish(publication)
    await STORE(owner, outcome, now)


def offer_at_once(dispatch: WorkDispatch, assignment: Assignment) -> None:
    dispatch._late.give(assignment)


def any_epoch(endpoint: OfferEndpoint, offer: Offer) -> bool:
    del endpoint, offer
    return False


def forget_first(endpoint: OfferEndpoint, taken: TakenItem) -> None:
    endpoint.ended(taken)


async def take_over_without_timers(*arguments: Any, **options: Any) -> Recovered:
    recovered = await TAKE_OVER(*arguments, **options)
    recovered.book._timers.clear()
    return recovered


async def ask_first(owner: ShardOwner, outcome: Outcome, now: datetime) -> None:
    owner._asker.put(outcome.asked)
    await STORE(owner, outcome, now)


async def believe_silence(asker: Asker, asks: Sequence[Any]) -> Sequence[bytes]:
    return await REPLY(asker, asks) or [b"{}"] * len(asks)


def picture_of_less_than_it_says(book: ShardBook) -> Picture:
    outline, slots = PICTURE(book)
    return Picture(msgspec.structs.replace(outline, n=outline.n + 1), slots)


def name_newest(snapshots: Snapshots, book: ShardBook, settled: int) -> SnapshotRef | None:
    del settled
    return snapshots._newest or book.snapshot


def all_is_settled(sender: EffectSender) -> int:
    return sender._book.n


async def believe_stored(rest: Rest, states: Sequence[Resting]) -> bool:
    del rest, states
    return True


def write_anyhow(
    store: MemoryStateStore, shard: tuple[str, int], states: Sequence[Resting], owner: int
) -> None:
    del owner
    STATE_WRITE(store, shard, states, store._owners[shard].sequence)


def any_attempt(attempts: Attempts, work: str, attempt: int) -> bool:
    del attempt
    return any(work == running for running, _ in attempts.open())


async def believe_refused(registry: WorkerRegistry, assignment: Assignment) -> None:
    registry._refused(assignment)


def take_copies(endpoint: OfferEndpoint, offer: Offer) -> bool | None:
    del endpoint, offer


def give_up_silent(registry: WorkerRegistry, worker: Any, now: float, tasks: TaskGroup) -> None:
    del tasks
    if now > worker.heard:
        registry._gone(worker, "it says nothing")


async def nobody_holds(worker: str, call: InventoryRequest, *_: Any) -> Held:
    del worker
    return Held(items=[], epoch=call.epoch)


async def the_silent_hold_nothing(worker: str, call: InventoryRequest, *rest: Any) -> Held:
    held = await ASK_HOLDER(worker, call, *rest)
    return held or Held(items=[], epoch=call.epoch)


async def leave_at_once(worker: Worker[Any]) -> None:
    worker._draining = True
    await worker._endpoint.leave()


async def below_all(purge: Purge, sequence: int, *, pressed: bool) -> int:
    del pressed
    newest = await purge._journal.last(purge._subject)
    return newest.sequence if newest else sequence


async def sweep_all(leftovers: Leftovers) -> None:
    for name in await leftovers._blobs.names(leftovers._under):
        await leftovers._blobs.remove(name)


async def remove_at_the_end(leftovers: Leftovers) -> None:
    while leftovers._ended:
        await leftovers._blobs.remove(leftovers._ended.popleft()[1])


def newest_reading(*readings: Any) -> Any:
    return readings[-1]


PLANTED = (
    Planted("the journal has no fence", "bus.memory.store.MemoryStore.append", append_anyhow, 20),
    Planted(
        "an unanswered append is believed", "bus.shard.fence.append", believe_unanswered, 20, 3
    ),
    Planted("a new owner begins no epoch", "bus.shard.recovery._owner_commit", same_epoch, 20),
    Planted("a former owner still answers", "bus.shard.fence.Fence.confirm", not_done, 40, 20),
    Planted(
        "replies leave before the commit", "bus.shard.owner.ShardOwner._store", reply_first, 20
    ),
    Planted("work leaves before the commit", "bus.shard.owner.ShardOwner._store", work_first, 20),
    Planted(
        "events leave before the commit", "bus.shard.owner.ShardOwner._store", publish_first, 20
    ),
    Planted(
        "a worker forgets what it reports",
        "bus.work.grants.OfferEndpoint.reports",
        forget_first,
        250,
        7,
    ),
    Planted(
        "an item is offered before it is named",
        "bus.shard.dispatch.WorkDispatch.granted",
        offer_at_once,
        80,
        7,
    ),
    Planted(
        "former owners may offer", "bus.work.grants.OfferEndpoint._is_past", any_epoch, 350, 308
    ),
    Planted(
        "an unanswered offer is taken as refused",
        "bus.work.registry.WorkerRegistry._offer_again",
        believe_refused,
        80,
        41,
    ),
    Planted(
        "copies of an offer are taken",
        "bus.work.grants.OfferEndpoint._answer_before",
        take_copies,
        80,
        1,
    ),
    Planted(
        "a silent worker is taken for dead at once",
        "bus.work.registry.WorkerRegistry._look_after",
        give_up_silent,
        150,
    ),
    Planted(
        "who is named is not asked what it holds",
        "bus.shard.takeover.ask_holder",
        nobody_holds,
        150,
        8,
    ),
    Planted(
        "who is named and silent is believed to hold nothing",
        "bus.shard.takeover.ask_holder",
        the_silent_hold_nothing,
        220,
        44,
    ),
    Planted("nobody asks for places", "bus.work.registry.WorkerRegistry._ask", forgotten, 20, 3),
    Planted(
        "a dead worker is not missed", "bus.work.registry.WorkerRegistry._gone", forgotten, 80, 34
    ),
    Planted(
        "who leaves drops what is in hand", "bus.work.worker.Worker.drain", leave_at_once, 150, 1
    ),
    Planted("replies are not remembered", "bus.shard.book.ShardBook.remember", forgotten, 20),
    Planted(
        "a new owner has no timers", "bus.shard.owner.take_over", take_over_without_timers, 20, 8
    ),
    Planted(
        "a snapshot says more than it holds",
        "bus.shard.book.ShardBook.picture",
        picture_of_less_than_it_says,
        20,
        5,
    ),
    Planted(
        "snapshots are named at once",
        "bus.shard.snapshots.Snapshots.to_name",
        name_newest,
        250,
        228,
    ),
    Planted("a purge goes above the snapshot", "bus.shard.purging.Purge._below", below_all, 20, 3),
    Planted(
        "all counts as settled", "bus.shard.effects.EffectSender.settled", all_is_settled, 40, 3
    ),
    Planted("nothing is published again", "bus.shard.effects.EffectSender.repeat", not_done, 40, 8),
    Planted(
        "open work is not seen to again",
        "bus.shard.takeover.OpenWorkKeeper.run",
        not_done,
        80,
        7,
    ),
    Planted(
        "who lets a shard go leaves its items waiting",
        "bus.shard.dispatch.WorkDispatch.finish",
        forgotten,
        40,
        7,
    ),
    Planted("asks leave before the commit", "bus.shard.owner.ShardOwner._store", ask_first, 20, 4),
    Planted("open asks are forgotten", "bus.shard.asks.Asker.resume", forgotten, 20, 4),
    Planted("who is silent is not asked again", "bus.shard.asks.Asker.run", not_done, 20, 5),
    Planted(
        "silence is taken for an answer", "bus.shard.asks.Asker._reply", believe_silence, 20, 7
    ),
    Planted("entities leave unstored", "bus.shard.rest.Rest._write", believe_stored, 40),
    Planted("entities do not come back", "bus.shard.rest.Rest.wake", not_done, 80, 31),
    Planted(
        "a zombie writes states", "bus.memory.states.MemoryStateStore.write", write_anyhow, 250, 120
    ),
    Planted(
        "bodies of what is open are swept", "bus.shard.bodies.Leftovers._sweep", sweep_all, 20, 5
    ),
    Planted(
        "bodies go before what is told of them is stored",
        "bus.shard.bodies.Leftovers._remove_ended",
        remove_at_the_end,
        80,
        3,
    ),
    Planted("any attempt counts", "schemas.attempts.Attempts.is_current", any_attempt, 600, 510),
    Planted("the clock goes back", "bus.shard.clock.max", newest_reading, 80, 22),
)

"""How the asks of a shard's entities reach those who are asked."""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.memory import memory_bus
from bus.requests.rpc import command
from bus.shard.asks import Asker
from bus.shard.book import ShardBook
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import PendingCommand, take_turn
from schemas.journal import CommandEnvelope
from schemas.work import Settled
from tests.simulation.account import ENTITY, Order, Ring, account_entity

AT = datetime(2026, 12, 1, tzinfo=UTC)


class Heard:
    """Who is asked: takes everything, and remembers it."""

    def __init__(self) -> None:
        self.envelopes: list[CommandEnvelope] = []

    async def ask_once(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes]:
        self.envelopes += envelopes
        return [encode(Settled(accepted=True)) for _ in envelopes]


class Ours(Fence):
    """A shard that nobody takes over."""

    def __init__(self) -> None:
        self.is_down = False

    async def confirm(self, *, within: float = 0.0) -> None:
        del within


def sending(*tenants: str) -> ShardBook:
    """Return a book in which an account of each tenant sends money, under the same names."""
    book = ShardBook(account_entity())
    for body in (None, Ring()):
        letters = [PendingCommand(command("", each, "a", body or _order(each))) for each in tenants]
        take_turn(book, letters, AT)
        book.n += 1
    return book


def _order(tenant: str) -> Order:
    return Order(
        account="a",
        tenant=tenant,
        transfer="t",
        to="b",
        amount=2,
        wait_seconds=0.0,
        direct=True,
    )


async def asked(book: ShardBook, wanted: int) -> list[CommandEnvelope]:
    """Return what is asked once all open asks were put."""
    heard = Heard()
    async with (
        memory_bus(Timing()) as world,
        world.process() as bus,
        anyio.create_task_group() as tasks,
    ):
        asker = Asker(book, Ours(), Inbox(bus.transport), {ENTITY: heard}, Timing(), tasks)
        asker.resume()
        with anyio.move_on_after(2):
            while len(heard.envelopes) < wanted:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    return heard.envelopes


async def test_asks_of_two_entities_under_the_same_id_are_both_sent():
    envelopes = await asked(sending("acme", "beta"), 2)

    assert sorted((envelope.tenant, envelope.id) for envelope in envelopes) == [
        ("acme", "receive.a.t"),
        ("beta", "receive.a.t"),
    ]


async def test_an_ask_names_the_commit_of_who_asks_as_its_cause():
    (envelope,) = await asked(sending("acme"), 1)

    assert envelope.cause == f"{ENTITY}.acme.a.2"

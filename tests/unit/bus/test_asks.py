"""How the asks of a shard's entities reach those who are asked."""

from collections.abc import Sequence
from datetime import UTC, datetime

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.memory import memory_bus
from bus.requests.rpc import command
from bus.shard.asks import Asker
from bus.shard.book import Book
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import Letter, take_turn
from schemas.journal import Mail
from schemas.work import Settled
from tests.simulation.account import ENTITY, Order, Ring, account_entity

AT = datetime(2026, 12, 1, tzinfo=UTC)


class Heard:
    """Who is asked: takes everything, and remembers it."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []

    async def ask_once(self, mails: Sequence[Mail]) -> Sequence[bytes]:
        self.mails += mails
        return [encode(Settled(accepted=True)) for _ in mails]


class Ours(Fence):
    """A shard that nobody takes over."""

    def __init__(self) -> None:
        self.is_down = False

    async def confirm(self, *, within: float = 0.0) -> None:
        del within


def sending(*tenants: str) -> Book:
    """Return a book in which an account of each tenant sends money, under the same names."""
    book = Book(account_entity())
    for body in (None, Ring()):
        letters = [Letter(command("", each, "a", body or _order(each))) for each in tenants]
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


async def asked(book: Book, wanted: int) -> list[Mail]:
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
            while len(heard.mails) < wanted:
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    return heard.mails


async def test_asks_of_two_entities_under_the_same_id_are_both_sent():
    mails = await asked(sending("acme", "beta"), 2)

    assert sorted((mail.tenant, mail.id) for mail in mails) == [
        ("acme", "receive.a.t"),
        ("beta", "receive.a.t"),
    ]


async def test_an_ask_names_the_commit_of_who_asks_as_its_cause():
    (mail,) = await asked(sending("acme"), 1)

    assert mail.cause == f"{ENTITY}.acme.a.2"

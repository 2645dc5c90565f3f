"""Mails that come together to a shard are answered together."""

import msgspec

from bus.codec import encode
from bus.memory import Exchange, MemoryStore, MemoryTransport
from bus.ports import Delivery
from bus.shard.inbox import MAX_BYTES_OF_ONE, MAX_OF_ONE, MAX_WAITING_BYTES, Inbox
from bus.shard.turn import Letter
from schemas.journal import Mail


def _mail(name: str) -> Mail:
    return Mail(id=name, tenant="t", key="k", body=msgspec.Raw(b"{}"))


async def test_mails_of_one_message_are_letters_whose_last_answer_carries_all() -> None:
    inbox = Inbox(MemoryTransport(Exchange(MemoryStore()), "owner"))

    inbox.deliver(Delivery("s", encode([_mail("a"), _mail("b")]), "back", None))

    first, second = inbox.take(10, 10_000)
    assert [first.mail.id, second.mail.id] == ["a", "b"]
    assert callable(first.reply)
    assert callable(second.reply)
    assert second.reply(b'{"n":2}') is None
    assert first.reply(b'{"n":1}') == ("back", b'[{"n":1},{"n":2}]')


def _inbox() -> Inbox:
    return Inbox(MemoryTransport(Exchange(MemoryStore()), "owner"))


def _letter(tenant: str, name: str) -> Letter:
    return Letter(Mail(id=name, tenant=tenant, key="k", body=msgspec.Raw(b"{}")))


async def test_tenants_take_turns_and_each_keeps_its_order() -> None:
    inbox = _inbox()
    for n in range(1000):
        inbox.offer(_letter("greedy", f"g{n}"), 10)
    inbox.offer(_letter("modest", "m0"), 10)
    inbox.offer(_letter("modest", "m1"), 10)

    assert [letter.mail.id for letter in inbox.take(5, 10_000)] == ["g0", "m0", "g1", "m1", "g2"]


async def test_what_waits_is_bounded_in_number_and_bytes_and_for_one_tenant_the_more() -> None:
    inbox, size = _inbox(), MAX_BYTES_OF_ONE // 4
    for n in range(9):
        inbox.offer(_letter("greedy", f"g{n}"), size)
    assert len(inbox) == 4
    inbox.offer(_letter("modest", "m"), size)
    assert len(inbox) == 5
    for n in range(9):
        inbox.offer(_letter("third", f"t{n}"), size)
    assert len(inbox) == MAX_WAITING_BYTES // size
    inbox.take(100, 2**40)
    inbox.offer(_letter("greedy", "again"), 2 * MAX_WAITING_BYTES)
    assert len(inbox) == 1

    many = _inbox()
    for n in range(MAX_OF_ONE + 5):
        many.offer(_letter("greedy", f"g{n}"), 1)
    assert len(many) == MAX_OF_ONE
    many.offer(_letter("modest", "m"), 1)
    assert len(many) == MAX_OF_ONE + 1

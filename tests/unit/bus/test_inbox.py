"""Envelopes that come together to a shard are answered together."""

import msgspec

from bus.codec import encode
from bus.memory import MemoryExchange, MemoryStore, MemoryTransport
from bus.ports import Delivery
from bus.shard.inbox import MAX_BYTES_OF_ONE, MAX_OF_ONE, MAX_WAITING_BYTES, Inbox
from bus.shard.turn import PendingCommand
from schemas.journal import CommandEnvelope


def _envelope(name: str) -> CommandEnvelope:
    return CommandEnvelope(id=name, tenant="t", key="k", body=msgspec.Raw(b"{}"))


async def test_commands_of_one_message_are_answered_by_the_last_answer_that_carries_all() -> None:
    inbox = Inbox(MemoryTransport(MemoryExchange(MemoryStore()), "owner"))

    inbox.deliver(Delivery("s", encode([_envelope("a"), _envelope("b")]), "back", None))

    first, second = inbox.take(10, 10_000)
    assert [first.envelope.id, second.envelope.id] == ["a", "b"]
    assert callable(first.reply)
    assert callable(second.reply)
    assert second.reply(b'{"n":2}') is None
    assert first.reply(b'{"n":1}') == ("back", b'[{"n":1},{"n":2}]')


def _inbox() -> Inbox:
    return Inbox(MemoryTransport(MemoryExchange(MemoryStore()), "owner"))


def _pending(tenant: str, name: str) -> PendingCommand:
    return PendingCommand(CommandEnvelope(id=name, tenant=tenant, key="k", body=msgspec.Raw(b"{}")))


async def test_tenants_take_turns_and_each_keeps_its_order() -> None:
    inbox = _inbox()
    for n in range(1000):
        inbox.offer(_pending("greedy", f"g{n}"), 10)
    inbox.offer(_pending("modest", "m0"), 10)
    inbox.offer(_pending("modest", "m1"), 10)

    assert [pending.envelope.id for pending in inbox.take(5, 10_000)] == [
        "g0",
        "m0",
        "g1",
        "m1",
        "g2",
    ]


async def test_what_waits_is_bounded_in_number_and_bytes_and_for_one_tenant_the_more() -> None:
    inbox, size = _inbox(), MAX_BYTES_OF_ONE // 4
    for n in range(9):
        inbox.offer(_pending("greedy", f"g{n}"), size)
    assert len(inbox) == 4
    inbox.offer(_pending("modest", "m"), size)
    assert len(inbox) == 5
    for n in range(9):
        inbox.offer(_pending("third", f"t{n}"), size)
    assert len(inbox) == MAX_WAITING_BYTES // size
    inbox.take(100, 2**40)
    inbox.offer(_pending("greedy", "again"), 2 * MAX_WAITING_BYTES)
    assert len(inbox) == 1

    many = _inbox()
    for n in range(MAX_OF_ONE + 5):
        many.offer(_pending("greedy", f"g{n}"), 1)
    assert len(many) == MAX_OF_ONE
    many.offer(_pending("modest", "m"), 1)
    assert len(many) == MAX_OF_ONE + 1


async def test_what_was_taken_makes_room_for_its_own_tenant_and_a_turn_is_as_large_as_allowed():
    inbox, size = _inbox(), MAX_BYTES_OF_ONE // 4
    for n in range(4):
        inbox.offer(_pending("greedy", f"g{n}"), size)
        inbox.offer(_pending("modest", f"m{n}"), size)

    assert [pending.envelope.id for pending in inbox.take(10, size + 1)] == ["g0", "m0"]
    inbox.offer(_pending("greedy", "g4"), size)
    inbox.offer(_pending("greedy", "too much"), size)

    assert [pending.envelope.id for pending in inbox.take(2, 10 * size)] == ["g1", "m1"]
    left = ["g2", "m2", "g3", "m3", "g4"]
    assert [pending.envelope.id for pending in inbox.take(9, 10 * size)] == left
    assert not inbox.take(9, 10 * size)

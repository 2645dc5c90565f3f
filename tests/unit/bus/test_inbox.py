"""Mails that come together to a shard are answered together."""

import msgspec

from bus.codec import encode
from bus.memory import Exchange, MemoryStore, MemoryTransport
from bus.ports import Delivery
from bus.shard.inbox import Inbox
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

"""Conversations over a stream in memory."""

from collections.abc import Sequence

import pytest

from actors.agents.adapters.conversations import Conversations
from bus import codec
from bus.errors import ProblemError
from bus.ports import Still, StoredMessage
from bus.subjects import parse
from schemas.conversations import (
    CONVERSATION_SUBJECT,
)
from tests.unit.agents.samples import append, turn


class Stream:
    """An outbox whose messages can be read again."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, StoredMessage]] = []
        self.posted = self.safe = 0
        self.max_payload = 1024**2

    async def post(
        self,
        subject: str,
        data: bytes,
        *,
        message_id: str | None = None,
        still: Still | None = None,
        frequent: bool = False,
        ttl: int | None = None,
    ) -> None:
        assert (message_id, still, frequent, ttl) == (None, None, False, None)
        self.messages.append((subject, StoredMessage(len(self.messages) + 1, data)))

    def offer(self, subject: str, data: bytes) -> bool:
        del subject, data
        return False

    async def flush(self, *, timeout: float) -> None:
        pass

    async def read_subject(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[StoredMessage]:
        assert stream == "CONVERSATIONS"
        found = [message for held, message in self.messages if held == subject]
        return [message for message in found if message.sequence >= start][:limit]


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def conversations(stream: Stream) -> Conversations:
    return Conversations(stream.read_subject)


async def test_the_turns_of_a_session_are_read_oldest_first(
    stream: Stream, conversations: Conversations
):
    for number in (1, 2, 3):
        await append(stream, "acme", turn(number))
    await append(stream, "acme", turn(4, session="session-2"))
    await append(stream, "umbrella", turn(5))

    turns = await conversations.turns("acme", "reviewer", "session-1")

    assert turns == [turn(1), turn(2), turn(3)]


async def test_a_turn_that_was_stored_twice_is_read_once(
    stream: Stream, conversations: Conversations
):
    for number in (1, 2, 1):
        await append(stream, "acme", turn(number))

    assert await conversations.turns("acme", "reviewer", "session-1") == [turn(1), turn(2)]


async def test_the_newest_turns_are_read_when_a_limit_is_set(
    stream: Stream, conversations: Conversations
):
    for number in range(5):
        await append(stream, "acme", turn(number))

    turns = await conversations.turns("acme", "reviewer", "session-1", limit=2)

    assert turns == [turn(3), turn(4)]


async def test_an_unknown_session_has_no_turns(conversations: Conversations):
    assert await conversations.turns("acme", "reviewer", "nowhere") == []


@pytest.mark.parametrize("name", ["", "*", ">", "a.b", "a b"])
async def test_a_name_that_is_no_token_reads_nothing(conversations: Conversations, name: str):
    with pytest.raises(ProblemError):
        await conversations.turns(name, "reviewer", "session-1")
    with pytest.raises(ProblemError):
        await conversations.turns("acme", name, "session-1")
    with pytest.raises(ProblemError):
        await conversations.turns("acme", "reviewer", name)


async def test_turns_lie_under_a_subject_of_their_session():
    stream = Stream()

    await append(stream, "acme", turn(1))

    subject = "_cb.conversation.acme.reviewer.session-1"
    assert stream.messages == [(subject, StoredMessage(1, codec.encode(turn(1))))]
    assert parse(CONVERSATION_SUBJECT, subject) == {
        "tenant": "acme",
        "agent_id": "reviewer",
        "session": "session-1",
    }

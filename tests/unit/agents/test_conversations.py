"""Conversations over a stream in memory."""

from collections.abc import Mapping, Sequence

import pytest

from actors.agents.adapters.conversations import Conversations, Readers
from bus import codec
from bus.errors import ProblemError
from bus.ports import Still, Stored
from bus.subjects import matches, parse
from schemas.conversations import (
    CONVERSATION_SUBJECT,
    ConversationSummary,
    ListConversations,
)
from tests.unit.agents.samples import append, later, turn


class Stream:
    """An outbox whose messages can be read again."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Stored]] = []
        self.posted = self.safe = 0
        self.read = 0
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
        self.messages.append((subject, Stored(len(self.messages) + 1, data)))

    def offer(self, subject: str, data: bytes) -> bool:
        del subject, data
        return False

    async def flush(self, *, timeout: float) -> None:
        pass

    async def read_subject(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[Stored]:
        assert stream == "CONVERSATIONS"
        found = [message for held, message in self.messages if held == subject]
        return [message for message in found if message.sequence >= start][:limit]

    async def newest_of_each(self, stream: str, pattern: str) -> Mapping[str, int]:
        assert stream == "CONVERSATIONS"
        return {
            subject: message.sequence
            for subject, message in self.messages
            if matches(pattern, subject)
        }

    async def last_of(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Stored]:
        assert stream == "CONVERSATIONS"
        newest = {subject: message for subject, message in self.messages if subject in subjects}
        self.read += len(newest)
        return newest


@pytest.fixture
def stream() -> Stream:
    return Stream()


@pytest.fixture
def conversations(stream: Stream) -> Conversations:
    return Conversations(Readers(stream.read_subject, stream.newest_of_each, stream.last_of))


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


async def test_the_sessions_of_an_agent_are_listed_by_their_newest_turn(
    stream: Stream,
    conversations: Conversations,
):
    await append(stream, "acme", turn(1))
    await append(stream, "acme", turn(2, session="session-2"))
    await append(stream, "acme", turn(3))
    await append(stream, "acme", turn(4, agent_id="writer"))

    page = await conversations.page("acme", ListConversations(agent_id="reviewer"))

    assert page.total == 2
    assert page.conversations == [
        ConversationSummary(
            agent_id="reviewer",
            session=session,
            last_execution_id=f"execution-{number}",
            last_at=later(number),
        )
        for session, number in (("session-1", 3), ("session-2", 2))
    ]


async def test_a_page_reads_one_turn_of_each_of_its_sessions_however_many_there_are(
    stream: Stream, conversations: Conversations
):
    for number in range(600):
        await append(stream, "acme", turn(number, session=f"s{number % 40}"))

    page = await conversations.page(
        "acme", ListConversations(agent_id="reviewer", limit=5, offset=10)
    )

    assert [row.session for row in page.conversations] == [f"s{n}" for n in range(29, 24, -1)]
    assert (page.total, page.limit, page.offset) == (40, 5, 10)
    assert stream.read == 5


async def test_a_session_that_goes_while_it_is_listed_has_no_row(stream: Stream):
    await append(stream, "acme", turn(1))
    await append(stream, "acme", turn(2, session="session-2"))
    (gone, _), listed = stream.messages[0], await stream.newest_of_each("CONVERSATIONS", ">")

    async def before(stream: str, pattern: str) -> Mapping[str, int]:
        del stream, pattern
        return listed

    stream.messages = [each for each in stream.messages if each[0] != gone]
    late = Conversations(Readers(stream.read_subject, before, stream.last_of))
    page = await late.page("acme", ListConversations(agent_id="reviewer"))

    assert [row.session for row in page.conversations] == ["session-2"]


@pytest.mark.parametrize("name", ["", "*", ">", "a.b", "a b"])
async def test_a_name_that_is_no_token_reads_nothing(conversations: Conversations, name: str):
    with pytest.raises(ProblemError):
        await conversations.turns(name, "reviewer", "session-1")
    with pytest.raises(ProblemError):
        await conversations.turns("acme", name, "session-1")
    with pytest.raises(ProblemError):
        await conversations.turns("acme", "reviewer", name)
    with pytest.raises(ProblemError):
        await conversations.page("acme", ListConversations(agent_id=name))


async def test_turns_lie_under_a_subject_of_their_session():
    stream = Stream()

    await append(stream, "acme", turn(1))

    subject = "_cb.conversation.acme.reviewer.session-1"
    assert stream.messages == [(subject, Stored(1, codec.encode(turn(1))))]
    assert parse(CONVERSATION_SUBJECT, subject) == {
        "tenant": "acme",
        "agent_id": "reviewer",
        "session": "session-1",
    }

"""The conversations of sessions: turns in a stream that keeps the newest of each session."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from actors.agents.core import history
from actors.agents.core.listing import page_subjects
from bus import codec, subjects
from bus.ports import Stored
from bus.streams.spec import CONVERSATION_TURNS, CONVERSATIONS
from schemas.conversations import (
    CONVERSATION_SUBJECT,
    ConversationList,
    ConversationSummary,
    ConversationTurn,
    ListConversations,
)


class ReadSubject(Protocol):
    """Reads the messages of one subject of a stream, oldest first."""

    async def __call__(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[Stored]:
        """Return at most ``limit`` messages from stream sequence ``start`` on."""
        ...


class NewestOfEach(Protocol):
    """Finds the subjects of a stream that a filter catches, without reading a message."""

    async def __call__(self, stream: str, pattern: str) -> Mapping[str, int]:
        """Return them with the sequence of the newest message of each."""
        ...


class LastOf(Protocol):
    """Reads the newest message of each of some subjects."""

    async def __call__(self, stream: str, subjects: Sequence[str]) -> Mapping[str, Stored]:
        """Return them by subject, without those that have none."""
        ...


class Readers(NamedTuple):
    """What reads the stream."""

    read_subject: ReadSubject
    newest_of_each: NewestOfEach
    last_of: LastOf


class Conversations:
    """Turns by tenant, agent and session.

    Methods raise ``ProblemError`` ``validation`` for a name that is not one, and what the given
    readers raise.
    """

    def __init__(self, readers: Readers) -> None:
        self._readers = readers

    async def turns(
        self, tenant: str, agent_id: str, session: str, *, limit: int = CONVERSATION_TURNS
    ) -> list[ConversationTurn]:
        """Return the newest turns of a session, oldest first, one an execution.

        A session that nobody has begun has none.
        """
        subject = _subject(tenant, agent_id, session)
        stored = await self._readers.read_subject(CONVERSATIONS, subject, limit=CONVERSATION_TURNS)
        turns = [codec.decode(ConversationTurn, message.data) for message in stored]
        return history.unique(turns)[-limit:]

    async def page(self, tenant: str, query: ListConversations) -> ConversationList:
        """Return one page of the sessions of an agent, the most recently used first.

        Of all sessions only the headlines are looked at, and of the page's the newest turns.
        """
        pattern = subjects.filter_for(CONVERSATION_SUBJECT, tenant=tenant, agent_id=query.agent_id)
        newest = await self._readers.newest_of_each(CONVERSATIONS, pattern)
        wanted = page_subjects(newest, query)
        stored = await self._readers.last_of(CONVERSATIONS, wanted)
        turns = [
            codec.decode(ConversationTurn, stored[each].data) for each in wanted if each in stored
        ]
        return ConversationList(
            conversations=[_row(turn) for turn in turns],
            total=len(newest),
            limit=query.limit,
            offset=query.offset,
        )


def _subject(tenant: str, agent_id: str, session: str) -> str:
    return subjects.fill(CONVERSATION_SUBJECT, tenant=tenant, agent_id=agent_id, session=session)


def _row(turn: ConversationTurn) -> ConversationSummary:
    return ConversationSummary(
        agent_id=turn.agent_id,
        session=turn.session,
        last_execution_id=turn.execution_id,
        last_at=turn.at,
    )

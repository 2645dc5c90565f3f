"""The conversations of sessions: turns in a stream that keeps the newest of each session."""

from collections.abc import Sequence
from typing import Protocol

from actors.agents.core import history
from bus import codec, subjects
from bus.ports import Stored
from bus.streams.spec import CONVERSATION_TURNS, CONVERSATIONS
from schemas.conversations import (
    CONVERSATION_SUBJECT,
    ConversationSummary,
    ConversationTurn,
)

MAX_SESSIONS = 10_000
"""Sessions of one agent that a listing looks at."""


class ReadSubject(Protocol):
    """Reads the messages of one subject of a stream, oldest first."""

    async def __call__(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[Stored]:
        """Return at most ``limit`` messages from stream sequence ``start`` on."""
        ...


class LastOfEach(Protocol):
    """Reads the newest message of every subject that a filter catches."""

    async def __call__(
        self, stream: str, filters: list[str], *, limit: int
    ) -> Sequence[tuple[str, Stored]]:
        """Return at most ``limit`` pairs of subject and message."""
        ...


class Conversations:
    """Turns by tenant, agent and session.

    Methods raise ``ProblemError`` ``validation`` for a name that is not one, and what the given
    readers raise.
    """

    def __init__(self, read_subject: ReadSubject, last_of_each: LastOfEach) -> None:
        self._read_subject = read_subject
        self._last_of_each = last_of_each

    async def turns(
        self, tenant: str, agent_id: str, session: str, *, limit: int = CONVERSATION_TURNS
    ) -> list[ConversationTurn]:
        """Return the newest turns of a session, oldest first, one an execution.

        A session that nobody has begun has none.
        """
        subject = _subject(tenant, agent_id, session)
        stored = await self._read_subject(CONVERSATIONS, subject, limit=CONVERSATION_TURNS)
        turns = [codec.decode(ConversationTurn, message.data) for message in stored]
        return history.unique(turns)[-limit:]

    async def sessions(self, tenant: str, agent_id: str) -> list[ConversationSummary]:
        """Return a row for each session of an agent, in no order."""
        wanted = subjects.filter_for(CONVERSATION_SUBJECT, tenant=tenant, agent_id=agent_id)
        newest = await self._last_of_each(CONVERSATIONS, [wanted], limit=MAX_SESSIONS)
        return [_row(codec.decode(ConversationTurn, message.data)) for _, message in newest]


def _subject(tenant: str, agent_id: str, session: str) -> str:
    return subjects.fill(CONVERSATION_SUBJECT, tenant=tenant, agent_id=agent_id, session=session)


def _row(turn: ConversationTurn) -> ConversationSummary:
    return ConversationSummary(
        agent_id=turn.agent_id,
        session=turn.session,
        last_execution_id=turn.execution_id,
        last_at=turn.at,
    )

"""The conversations of sessions: turns in a stream that keeps the newest of each session."""

from collections.abc import Sequence
from typing import Protocol

from actors.agents.core import history
from bus import codec, subjects
from bus.ports import StoredMessage
from bus.streams.spec import CONVERSATION_TURNS, CONVERSATIONS
from schemas.conversations import CONVERSATION_SUBJECT, ConversationTurn


class ReadSubject(Protocol):
    """Reads the messages of one subject of a stream, oldest first."""

    async def __call__(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[StoredMessage]:
        """Return at most ``limit`` messages from stream sequence ``start`` on."""
        ...


class Conversations:
    """Turns by tenant, agent and session.

    Methods raise ``ProblemError`` ``validation`` for a name that is not one, and what the given
    reader raises.
    """

    def __init__(self, read_subject: ReadSubject) -> None:
        self._read_subject = read_subject

    async def turns(
        self, tenant: str, agent_id: str, session: str, *, limit: int = CONVERSATION_TURNS
    ) -> list[ConversationTurn]:
        """Return the newest turns of a session, oldest first, one an execution.

        A session that nobody has begun has none.
        """
        subject = self.subject(tenant, agent_id, session)
        stored = await self._read_subject(CONVERSATIONS, subject, limit=CONVERSATION_TURNS)
        turns = [codec.decode(ConversationTurn, message.data) for message in stored]
        return history.unique(turns)[-limit:]

    @staticmethod
    def subject(tenant: str, agent_id: str, session: str) -> str:
        """Return where the turns of a session are stored."""
        names = {"tenant": tenant, "agent_id": agent_id, "session": session}
        return subjects.fill(CONVERSATION_SUBJECT, **names)

"""The conversation of a session: one stored turn for each completed execution."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.base import Command, Cursor, Message, Offset, Question
from schemas.ids import AgentId, ExecutionId, Label, SessionId
from schemas.llm import ChatMessage

CONVERSATION_SUBJECT = "_cb.conversation.{tenant}.{agent_id}.{session}"


class ConversationTurn(Message):
    """A task and its answer. Readers keep one turn an execution: it may be stored twice.

    ``messages`` are what lies between: calls of tools and their results.
    """

    SUBJECT: ClassVar[str | None] = CONVERSATION_SUBJECT

    execution_id: ExecutionId
    agent_id: AgentId
    session: SessionId
    at: datetime
    user: str
    assistant: str
    messages: list[ChatMessage] = []


class Conversation(Message):
    """The stored turns of one session, oldest first."""

    agent_id: AgentId
    session: SessionId
    turns: list[ConversationTurn]


class GetConversation(Question):
    """Read the newest turns of one session; one that has none is not found."""

    SUBJECT: ClassVar[str] = "conversations.get"
    REPLY: ClassVar[type[Message]] = Conversation
    ACTION: ClassVar[str] = "executions:content"

    agent_id: AgentId
    session: SessionId
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100


class DeletedConversation(Message):
    """A session that is forgotten, with as many ``executions``."""

    agent_id: AgentId
    session: SessionId
    executions: int


class DeleteConversation(Command):
    """Forget a session: its turns, and all executions in it, as ``executions.delete`` does.

    All of them must have ended. Where they are too many for one request, ask again.
    """

    SUBJECT: ClassVar[str] = "conversations.delete"
    REPLY: ClassVar[type[Message]] = DeletedConversation
    ACTION: ClassVar[str] = "executions:write"

    agent_id: AgentId
    session: SessionId


class ConversationSummary(Message):
    """One row of a listing: a session and its newest turn, with the ``user`` that this was for.

    ``turns`` counts the executions that were completed in it and are still told of. Of their turns
    the newest 100 are kept.
    """

    agent_id: AgentId
    session: SessionId
    last_execution_id: ExecutionId
    last_at: datetime
    turns: int = 0
    user: str | None = None


class ConversationList(Message):
    """A page of sessions, the most recently used first; ``next`` as in ``ExecutionList``."""

    conversations: list[ConversationSummary]
    total: int | None
    limit: int
    offset: int
    next: str | None = None


class ListConversations(Question):
    """List the sessions of an agent, or those of them whose newest turn was for a user."""

    SUBJECT: ClassVar[str] = "conversations.list"
    REPLY: ClassVar[type[Message]] = ConversationList
    ACTION: ClassVar[str] = "executions:read"

    agent_id: AgentId
    user: Label | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0
    cursor: Cursor | None = None

"""The conversation of a session: one stored turn for each completed execution."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.base import Message, Question
from schemas.ids import AgentId, ExecutionId, SessionId

CONVERSATION_SUBJECT = "_cb.conversation.{tenant}.{agent_id}.{session}"


class ConversationTurn(Message):
    """A task and its answer. Readers keep one turn an execution: it may be stored twice."""

    SUBJECT: ClassVar[str | None] = CONVERSATION_SUBJECT

    execution_id: ExecutionId
    agent_id: AgentId
    session: SessionId
    at: datetime
    user: str
    assistant: str


class Conversation(Message):
    """The stored turns of one session, oldest first."""

    agent_id: AgentId
    session: SessionId
    turns: list[ConversationTurn]


class GetConversation(Question):
    """Read the newest turns of one session."""

    SUBJECT: ClassVar[str] = "conversations.get"
    REPLY: ClassVar[type[Message]] = Conversation
    ACTION: ClassVar[str] = "executions:content"

    agent_id: AgentId
    session: SessionId
    limit: Annotated[int, msgspec.Meta(ge=1, le=100)] = 100


class ConversationSummary(Message):
    """One row of a listing: a session and its newest turn."""

    agent_id: AgentId
    session: SessionId
    last_execution_id: ExecutionId
    last_at: datetime


class ConversationList(Message):
    """A page of an agent's sessions, the most recently used first."""

    conversations: list[ConversationSummary]
    total: int
    limit: int
    offset: int


class ListConversations(Question):
    """List the sessions of an agent."""

    SUBJECT: ClassVar[str] = "conversations.list"
    REPLY: ClassVar[type[Message]] = ConversationList
    ACTION: ClassVar[str] = "executions:read"

    agent_id: AgentId
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0

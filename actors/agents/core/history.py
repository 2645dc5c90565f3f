"""What of a session's conversation goes into the next call."""

from collections.abc import Sequence

from actors.agents.core import tokens
from schemas.agents import Memory
from schemas.conversations import ConversationTurn
from schemas.llm import ChatMessage


def unique(turns: Sequence[ConversationTurn]) -> list[ConversationTurn]:
    """Keep one turn an execution, the first stored, in stored order."""
    first: dict[str, ConversationTurn] = {}
    for turn in turns:
        first.setdefault(turn.execution_id, turn)
    return list(first.values())


def window(
    turns: Sequence[ConversationTurn], memory: Memory, message: str
) -> list[ConversationTurn]:
    """Return the newest turns that the agent's memory lets into a call, oldest first.

    A turn is two messages and is kept whole, so an odd ``max_history`` counts as one less. With
    ``sliding_window`` the turns and the user message to come stay within ``context_window`` tokens
    (an estimate); the message always goes in, even where it alone is larger. The system prompt is
    not part of the window. Older turns behind one that does not fit are left out too.
    """
    pairs = memory.max_history // 2
    newest = unique(turns)[-pairs:] if pairs else []
    if memory.strategy == "last_n":
        return newest
    return _within(newest, memory.context_window - tokens.estimate_message(message))


def messages(turns: Sequence[ConversationTurn]) -> list[ChatMessage]:
    """Write turns as alternating messages of user and assistant."""
    return [
        message
        for turn in turns
        for message in (
            ChatMessage(role="user", content=turn.user),
            ChatMessage(role="assistant", content=turn.assistant),
        )
    ]


def _within(turns: list[ConversationTurn], room: int) -> list[ConversationTurn]:
    for place in range(len(turns) - 1, -1, -1):
        room -= _size(turns[place])
        if room < 0:
            return turns[place + 1 :]
    return turns


def _size(turn: ConversationTurn) -> int:
    return tokens.estimate_message(turn.user) + tokens.estimate_message(turn.assistant)

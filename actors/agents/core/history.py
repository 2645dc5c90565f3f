"""What of a session's conversation goes into the next call."""

from collections.abc import Sequence

import msgspec

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
    """Write turns as messages of user and assistant, with calls of tools in between."""
    return [
        message
        for turn in turns
        for message in (
            ChatMessage(role="user", content=turn.user),
            *turn.messages,
            ChatMessage(role="assistant", content=turn.assistant),
        )
    ]


def _within(turns: list[ConversationTurn], room: int) -> list[ConversationTurn]:
    """Keep the newest turns that fit; of one too large the calls of tools go first."""
    kept: list[ConversationTurn] = []
    for turn in reversed(turns):
        fitting = turn if _size(turn) <= room else msgspec.structs.replace(turn, messages=[])
        room -= _size(fitting)
        if room < 0:
            break
        kept.insert(0, fitting)
    return kept


def _size(turn: ConversationTurn) -> int:
    said = tokens.estimate_message(turn.user) + tokens.estimate_message(turn.assistant)
    return said + sum(_called(message) for message in turn.messages)


def _called(message: ChatMessage) -> int:
    calls = "".join(f"{call.name}{call.arguments}" for call in message.tool_calls)
    return tokens.estimate_message(message.text + calls)

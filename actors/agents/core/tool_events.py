"""What is told of the calls of tools: on the stream, and to the later turns of a session. Pure."""

from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from actors.agents.core.state import Execution
from actors.agents.core.tool_state import RoundCall
from schemas import tool_turns
from schemas.lifecycle import (
    ExecutionEvent,
    ToolBegan,
    ToolFailed,
    ToolFinished,
    ToolRefused,
    ToolsCalled,
)
from schemas.llm import ChatMessage
from schemas.streams import ApprovalRequested, ToolProgressed, ToolReturned, first_progress
from schemas.tools import Turn

SHOWN_CHARACTERS = 4096
"""Of a result, and of the arguments that a person is to judge by."""

KEPT_BYTES = 256 * 1024
"""Calls and results of one turn of a session. Above it only the task and its answer are kept."""


def tools_told(
    event: ExecutionEvent, after: Execution
) -> Iterator[ToolReturned | ApprovalRequested | ToolProgressed]:
    """Yield what the stream is told of an event, each in a segment of its own.

    That an agent has begun to run is told where a process tells how far a server's tool has come.
    """
    if isinstance(event, ToolBegan):
        yield from _running(event, after)
    if isinstance(event, ToolsCalled):
        yield from _requested(event, after)
    if isinstance(event, ToolFinished | ToolFailed | ToolRefused):
        call = after.tools.call(event.work) if after.tools is not None else None
        if call is not None and event.notice_segment is not None:
            yield _returned(after, call, event.notice_segment, event.at)


def _requested(event: ToolsCalled, after: Execution) -> Iterator[ApprovalRequested]:
    rounds, answer = after.tools, after.answer
    if rounds is None or answer is None or event.notice_segment is None or event.until is None:
        return
    for segment, call in enumerate(rounds.asking, event.notice_segment):
        yield ApprovalRequested(
            execution_id=after.origin.execution_id,
            segment=segment,
            sequence=0,
            at=event.at,
            step=int(event.step),
            call_id=call.id,
            tool_name=call.name,
            arguments=answer.tool_calls[call.place - 1].arguments[:SHOWN_CHARACTERS],
            until=event.until,
        )


def _running(event: ToolBegan, after: Execution) -> Iterator[ToolProgressed]:
    call = after.tools.call(event.work) if after.tools is not None else None
    if call is None:
        return
    yield ToolProgressed(
        execution_id=after.origin.execution_id,
        segment=after.segment,
        sequence=first_progress(call.place, event.attempt),
        at=event.at,
        step=int(after.step),
        call_id=call.id,
        tool_name=call.name,
        progress=0,
        child=call.child,
    )


def _returned(after: Execution, call: RoundCall, segment: int, at: datetime) -> ToolReturned:
    text, truncated = call.text, False
    if call.result is not None:
        text, truncated = tool_turns.beginning(call.result, SHOWN_CHARACTERS)
    return ToolReturned(
        execution_id=after.origin.execution_id,
        segment=segment,
        sequence=0,
        at=at,
        step=int(after.step),
        call_id=call.id,
        tool_name=call.name,
        outcome=call.outcome or "",
        is_error=call.outcome != "ok",
        content=text,
        truncated=truncated,
        child=call.child,
        cost=call.cost,
    )


def kept_turns(before: Execution | None) -> list[ChatMessage]:
    """Return the calls and results that a session remembers of an execution."""
    rounds = before.tools if before is not None else None
    if rounds is None:
        return []
    # Those before them are put in when the turn is published: see ``core.prompts``.
    return written(rounds.turns) if rounds.parted else remembered(rounds.turns)


def remembered(turns: Sequence[Turn]) -> list[ChatMessage]:
    """Return turns as a session keeps them: without images, and of large results the beginning.

    None are kept where they are too large, or where a call has no result: providers refuse that.
    """
    messages = written(turns)
    size = sum(len(msgspec.json.encode(message)) for message in messages)
    called = [call.id for message in messages for call in message.tool_calls]
    results = [message.tool_call_id for message in messages if message.role == "tool"]
    return messages if size <= KEPT_BYTES and called == results else []


def written(turns: Sequence[Turn]) -> list[ChatMessage]:
    """Return turns as the messages that a session keeps, whole or not."""
    return [_without_images(tool_turns.message_of(_begun(turn))) for turn in turns]


def _begun(turn: Turn) -> Turn:
    result = turn.result
    if result is None or result.reference is None:
        return turn
    begun = msgspec.structs.replace(
        result, truncated=True, bytes=result.bytes or result.reference.bytes
    )
    return msgspec.structs.replace(turn, result=begun)


def _without_images(message: ChatMessage) -> ChatMessage:
    if message.role != "tool" or isinstance(message.content, str):
        return message
    return msgspec.structs.replace(message, content=message.text)

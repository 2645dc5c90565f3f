"""Numbering an attempt's events, and the running count and hash of what it has published.

Within its segment the events count from 0 without gaps. Neighbouring deltas of one kind become one
event, so that one read from the provider is one message on the bus.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, cast

import msgspec

from actors.streaming.core.deltas import Delta, TextDelta
from schemas import bounds
from schemas.ids import ExecutionId
from schemas.lifecycle import Deltas
from schemas.llm import ToolCall
from schemas.streams import ContentChunk, StreamEvent, Thinking, ThinkingChunk, ToolCalled

MAX_CHUNK_CHARACTERS = 64 * 1024
"""Longer texts are spread over several events: none exceeds 512 KiB, however it is encoded."""


class Sequencer:
    """Writes the events of one attempt, and knows by ``deltas`` what it has written."""

    def __init__(self, execution_id: ExecutionId, *, segment: int, step: int, attempt: int) -> None:
        self._execution_id = execution_id
        self._segment = segment
        self._step = step
        self._attempt = attempt
        self._count = 0
        self._hash = hashlib.sha256()

    @property
    def deltas(self) -> Deltas:
        """How many events were written, and the SHA-256 of all their answer text as UTF-8."""
        return Deltas(count=self._count, sha256=self._hash.hexdigest())

    def thinking(self, status: str, at: datetime, until: datetime | None = None) -> Thinking:
        """Write what the agent is doing, or until when it waits."""
        return Thinking(status=status, until=until, **self._place(at))

    def events(self, deltas: Sequence[Delta], at: datetime) -> list[StreamEvent]:
        """Write what one read has brought, mostly one short text."""
        if len(deltas) == 1:
            only = deltas[0]
            if not isinstance(only, ToolCall) and len(only.text) <= MAX_CHUNK_CHARACTERS:
                return [self._text(type(only), only.text, at)]
        return self._grouped(deltas, at)

    def _grouped(self, deltas: Iterable[Delta], at: datetime) -> list[StreamEvent]:
        written: list[StreamEvent] = []
        for kind, group in groupby(deltas, type):
            if kind is ToolCall:
                written += [self._tool_call(call, at) for call in cast("Iterable[ToolCall]", group)]
                continue
            text = "".join([delta.text for delta in cast("Iterable[TextDelta]", group)])
            for start in range(0, len(text), MAX_CHUNK_CHARACTERS):
                piece = text[start : start + MAX_CHUNK_CHARACTERS]
                written.append(self._text(kind, piece, at))
        return written

    def _text(self, kind: type[Delta], text: str, at: datetime) -> ContentChunk | ThinkingChunk:
        if kind is TextDelta:
            self._hash.update(text.encode())
        sequence = self._count
        self._count += 1
        # Spelt out, where ``_place`` would do: hardly any event is another than these.
        return (ContentChunk if kind is TextDelta else ThinkingChunk)(
            execution_id=self._execution_id,
            segment=self._segment,
            sequence=sequence,
            at=at,
            step=self._step,
            attempt=self._attempt,
            content=text,
        )

    def _tool_call(self, call: ToolCall, at: datetime) -> ToolCalled:
        return ToolCalled(
            call_id=call.id,
            tool_name=call.name,
            arguments=_parsed(call.arguments),
            **self._place(at),
        )

    def _place(self, at: datetime) -> dict[str, Any]:
        sequence = self._count
        self._count += 1
        return {
            "execution_id": self._execution_id,
            "segment": self._segment,
            "sequence": sequence,
            "at": at,
            "step": self._step,
            "attempt": self._attempt,
        }


def _parsed(arguments: str) -> Any:
    try:
        return bounds.decode(arguments)
    except (msgspec.DecodeError, RecursionError):
        return arguments

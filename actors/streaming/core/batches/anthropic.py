"""Anthropic's Message Batches: the requests travel in one body, the results are read as lines.

Source: Anthropic, *Message Batches* and the reference of ``/v1/messages/batches``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.batches.form import (
    CANCELLED,
    EXPIRED,
    UNREADABLE,
    BatchProgress,
    Item,
    Named,
    Step,
    decoded,
    segment,
)
from actors.streaming.core.decoding.counts import members
from actors.streaming.core.errors.faults import failure_in_stream
from schemas import bounds
from schemas.problems import Problem


class _AnthropicBatch(msgspec.Struct):
    processing_status: str


class _AnthropicResult(msgspec.Struct):
    type: str
    message: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


class _AnthropicLine(msgspec.Struct):
    custom_id: str
    result: _AnthropicResult


_lines = bounds.Decoder(_AnthropicLine)


class AnthropicBatches(NamedTuple):
    """Anthropic's message batches; ``path`` is that of the single request, as ``v1/messages``."""

    path: str

    def upload(self, items: Sequence[Item]) -> None:
        """See ``BatchForm.upload``: nothing goes before."""
        del items

    def create(self, items: Sequence[Item], uploaded: bytes) -> Step:
        """See ``BatchForm.create``."""
        del uploaded
        requests = [{"custom_id": id_, "params": body} for id_, body in items]
        content = msgspec.json.encode({"requests": requests})
        return Step("POST", f"{self.path}/batches", content, once=True)

    def read_id(self, body: bytes) -> str:
        """See ``BatchForm.read_id``."""
        return decoded(Named, body).id

    def look(self, batch: str) -> Step:
        """See ``BatchForm.look``."""
        return Step("GET", self._of(batch))

    def read_progress(self, batch: str, body: bytes) -> BatchProgress:
        """See ``BatchForm.read_progress``. The results' own URL is not followed: it is told."""
        state = decoded(_AnthropicBatch, body)
        if state.processing_status != "ended":
            return BatchProgress(ended=False)
        return BatchProgress(ended=True, results=[Step("GET", f"{self._of(batch)}/results")])

    def cancel(self, batch: str) -> Step:
        """See ``BatchForm.cancel``."""
        return Step("POST", f"{self._of(batch)}/cancel", b"{}")

    def read_line(self, line: bytes) -> tuple[str, bytes | Problem] | None:
        """See ``BatchForm.read_line``."""
        try:
            found = _lines.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return None
        return found.custom_id, _anthropic_outcome(found.result)

    def _of(self, batch: str) -> str:
        return f"{self.path}/batches/{segment(batch)}"


def _anthropic_outcome(result: _AnthropicResult) -> bytes | Problem:
    match result.type:
        case "succeeded":
            return bytes(result.message)
        case "errored":
            # An error response as of a single request: {"type": "error", "error": {…}}.
            told = members(result.error)
            return failure_in_stream(told.get("error", told))
        case "canceled":
            return CANCELLED
        case "expired":
            return EXPIRED
        case _:
            return UNREADABLE

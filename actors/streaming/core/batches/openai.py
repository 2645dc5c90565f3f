"""OpenAI's Batch API: a file of requests is uploaded, a batch made of it, two files are read.

Source: OpenAI, *Batch API* and the reference of ``/v1/files`` and ``/v1/batches``.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.batches.form import (
    CANCELLED,
    EXPIRED,
    BatchProgress,
    Item,
    Name,
    Named,
    Step,
    decoded,
    segment,
)
from actors.streaming.core.decoding.counts import items, members
from actors.streaming.core.errors.faults import failure_in_stream, refusal
from schemas import bounds
from schemas.problems import Problem

_SUCCESS = 200

_ENDS = frozenset({"completed", "failed", "expired", "cancelled", "canceled"})


class _OpenAIBatch(msgspec.Struct):
    status: str
    output_file_id: Name | None = None
    error_file_id: Name | None = None
    errors: Any = None


class _OpenAIResponse(msgspec.Struct):
    status_code: int
    body: msgspec.Raw = msgspec.Raw(b"null")


class _OpenAILine(msgspec.Struct):
    custom_id: str
    response: _OpenAIResponse | None = None
    error: Any = None


_lines = bounds.Decoder(_OpenAILine)


class OpenAIBatches(NamedTuple):
    """OpenAI's batches; ``path`` is that of the single request, as ``responses``."""

    path: str

    @property
    def _url(self) -> str:
        """The path as a batch names it, whatever the address."""
        return f"/v1/{self.path}"

    def upload(self, items: Sequence[Item]) -> Step:
        """See ``BatchForm.upload``: the requests as a file of lines."""
        lines = b"\n".join(
            msgspec.json.encode(
                {"custom_id": id_, "method": "POST", "url": self._url, "body": body}
            )
            for id_, body in items
        )
        boundary = f"callboard-{items[0].custom_id}"
        return Step(
            "POST",
            "files",
            _multipart(boundary, lines),
            f"multipart/form-data; boundary={boundary}",
        )

    def create(self, items: Sequence[Item], uploaded: bytes) -> Step:
        """See ``BatchForm.create``."""
        del items
        wanted = {
            "input_file_id": decoded(Named, uploaded).id,
            "endpoint": self._url,
            "completion_window": "24h",
        }
        return Step("POST", "batches", msgspec.json.encode(wanted), once=True)

    def read_id(self, body: bytes) -> str:
        """See ``BatchForm.read_id``."""
        return decoded(Named, body).id

    def look(self, batch: str) -> Step:
        """See ``BatchForm.look``."""
        return Step("GET", f"batches/{segment(batch)}")

    def read_progress(self, batch: str, body: bytes) -> BatchProgress:
        """See ``BatchForm.read_progress``: what was done before an expiry or a cancel counts."""
        del batch
        state = decoded(_OpenAIBatch, body)
        if state.status not in _ENDS:
            return BatchProgress(ended=False)
        files = [name for name in (state.output_file_id, state.error_file_id) if name]
        steps = [Step("GET", f"files/{segment(name)}/content") for name in files]
        return BatchProgress(ended=True, results=steps, problem=_openai_end(state))

    def cancel(self, batch: str) -> Step:
        """See ``BatchForm.cancel``."""
        return Step("POST", f"batches/{segment(batch)}/cancel", b"{}")

    def read_line(self, line: bytes) -> tuple[str, bytes | Problem] | None:
        """See ``BatchForm.read_line``."""
        try:
            found = _lines.decode(line)
        except (msgspec.DecodeError, RecursionError):
            return None
        return found.custom_id, _openai_outcome(found)


def _openai_end(state: _OpenAIBatch) -> Problem | None:
    """Return what befell the requests that have no result of their own."""
    match state.status:
        case "failed":
            told = items(members(state.errors).get("data")) or items(state.errors)
            problem = failure_in_stream(next(iter(told), None))
            # The file was refused as a whole: the same requests would be refused again.
            return msgspec.structs.replace(problem, retryable=False, retry_after=None)
        case "expired":
            return EXPIRED
        case "cancelled" | "canceled":
            return CANCELLED
        case _:
            return None


def _openai_outcome(line: _OpenAILine) -> bytes | Problem:
    if line.response is None:
        is_late = members(line.error).get("code") == "batch_expired"
        return EXPIRED if is_late else failure_in_stream(line.error)
    if line.response.status_code != _SUCCESS:
        return refusal(line.response.status_code, {}, bytes(line.response.body))
    return bytes(line.response.body)


def _multipart(boundary: str, lines: bytes) -> bytes:
    """Write the form of OpenAI's Files API: a purpose and a file (RFC 7578)."""
    head = (
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="purpose"\r\n\r\n'
        "batch\r\n"
        f"--{boundary}\r\n"
        'Content-Disposition: form-data; name="file"; filename="batch.jsonl"\r\n'
        "Content-Type: application/jsonl\r\n\r\n"
    )
    return b"".join((head.encode(), lines, f"\r\n--{boundary}--\r\n".encode()))

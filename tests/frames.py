"""Writing what AWS sends in streams: messages of the binary event stream."""

import base64
import struct
from typing import Any
from zlib import crc32

import msgspec


def frame(headers: bytes, payload: bytes = b"") -> bytes:
    """Write a message of these bytes, with both checksums."""
    prelude = struct.pack("!II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack("!I", crc32(prelude)) + headers + payload
    return body + struct.pack("!I", crc32(body))


def text_header(name: str, value: str) -> bytes:
    """Write a header that is a text."""
    raw, text = name.encode(), value.encode()
    return bytes([len(raw)]) + raw + b"\x07" + struct.pack("!H", len(text)) + text


def message(payload: Any, **headers: str) -> bytes:
    """Write a message with a JSON payload; a header's underscores stand for hyphens."""
    written = [text_header(f":{name.replace('_', '-')}", value) for name, value in headers.items()]
    return frame(b"".join(written), msgspec.json.encode(payload))


def event(kind: str, **body: Any) -> bytes:
    """Write an event of ConverseStream, with the padding that Bedrock adds."""
    return message(
        {**body, "p": "abcdef"},
        event_type=kind,
        content_type="application/json",
        message_type="event",
    )


def chunk(vendors: Any) -> bytes:
    """Write a chunk of an invocation, with a vendor's event inside."""
    return event("chunk", bytes=base64.b64encode(msgspec.json.encode(vendors)).decode())


def exception(name: str, text: str = "secret words") -> bytes:
    """Write an exception in the place of an event."""
    return message(
        {"message": text},
        exception_type=name,
        content_type="application/json",
        message_type="exception",
    )

"""Messages as they are on the wire: where each begins and ends, and its headers. Pure.

The wire format is that of the NATS client protocol: ``MSG <subject> <sid> [reply] <size>``, and
``HMSG <subject> <sid> [reply] <header size> <total size>``, each with its bytes on the next line.
We send the same as ``PUB`` and ``HPUB``, without the number of a subscription.
"""

from typing import NamedTuple

import msgspec

from bus.ports import Delivery

LINE_END = b"\r\n"
_MSG, _HMSG = b"MSG ", b"HMSG "
_VERSION = "NATS/1.0"
_FEWEST_PARTS = 3
_STATUS_LENGTH = 3


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A message and the subscription it is for. ``end`` is where the next frame begins."""

    sid: int
    subject: bytes
    reply: bytes
    headers: bytes
    data: bytes
    end: int

    def delivery(self) -> Delivery:
        """Return the message as the ports show it."""
        headers = read_headers(self.headers) if self.headers else None
        return Delivery(self.subject.decode(), self.data, self.reply.decode(), headers)


class IncompleteFrame(NamedTuple):
    """A message that has not arrived whole: ``needed`` bytes from its beginning are, if known."""

    needed: int


def next_frame(data: bytes, at: int) -> Frame | IncompleteFrame | None:
    """Return the message that begins at ``at``; None if something else is there.

    Raises:
        ValueError: it is malformed.
    """
    has_headers = not data.startswith(_MSG, at)
    if has_headers and not data.startswith(_HMSG, at):
        return None
    line_end = data.find(LINE_END, at)
    if line_end < 0:
        return IncompleteFrame(0)
    parts = data[at:line_end].split()
    count = len(parts) - has_headers
    if count <= _FEWEST_PARTS:
        raise ValueError("malformed message line")
    body = line_end + 2
    end = body + int(parts[-1])
    if len(data) < end + 2:
        return IncompleteFrame(end + 2 - at)
    split = body + int(parts[-2]) if has_headers else body
    reply = parts[3] if count > _FEWEST_PARTS + 1 else b""
    return Frame(int(parts[2]), parts[1], reply, data[body:split], data[split:end], end + 2)


class Begun(NamedTuple):
    """A message of which only the first line has arrived for certain; ``size`` is of its body."""

    sid: int
    subject: str
    reply: str
    size: int


def begun(data: bytes, at: int) -> Begun:
    """Return what the first line of an incomplete message says, which must have arrived whole."""
    kind, subject, sid, *more = data[at : data.find(LINE_END, at)].split()
    sizes = 1 + (kind == _HMSG.strip())
    reply = more[0] if len(more) > sizes else b""
    return Begun(int(sid), subject.decode(), reply.decode(), int(more[-1]))


def read_headers(raw: bytes) -> dict[str, str]:
    """Return the headers of a message; a status line of the server's own becomes ``Status``."""
    version, _, lines = raw.decode("utf-8", "replace").partition("\r\n")
    headers = {} if version == _VERSION else _status(version)
    for line in lines.split("\r\n"):
        if line:
            name, colon, text = line.partition(":")
            if colon and name:
                headers.setdefault(name, text.strip())
    return headers


def _status(version: str) -> dict[str, str]:
    status, _, description = version.removeprefix(_VERSION).strip().partition(" ")
    if len(status) != _STATUS_LENGTH or not status.isdigit():
        return {}
    return {"Status": status, "Description": description} if description else {"Status": status}


def written(subject: str, data: bytes, reply: str, headers: dict[str, str] | None) -> bytes:
    """Return the command that publishes a message. A line break in a header becomes a space."""
    to = f"{subject} {reply}" if reply else subject
    if headers is None:
        return b"%b%b%b" % (f"PUB {to} {len(data)}\r\n".encode(), data, LINE_END)
    lines = ""
    for name, text in headers.items():
        if "\n" in text or "\r" in text:
            text = text.replace("\r", " ").replace("\n", " ")  # noqa: PLW2901  the same, in one line
        lines += f"{name}: {text}\r\n"
    head = f"{_VERSION}\r\n{lines}\r\n".encode()
    line = f"HPUB {to} {len(head)} {len(head) + len(data)}\r\n"
    return b"%b%b%b%b" % (line.encode(), head, data, LINE_END)


def sized(data: bytes, headers: dict[str, str] | None) -> int:
    """Return the size of a message as the server bounds it: with its headers."""
    if headers is None:
        return len(data)
    lines = sum(len(f"{name}: {text}\r\n".encode()) for name, text in headers.items())
    return len(data) + len(_VERSION) + 2 * len(LINE_END) + lines

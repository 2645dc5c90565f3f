"""An MCP server over Streamable HTTP that does what a test wants, and counts what is done to it.

    python -m tests.mcp.fake [modern]

serves alone and with little work, for benches.
"""

import asyncio
import json
import re
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, NamedTuple, cast

import anyio
import anyio.lowlevel

MODERN, OLD = "2026-07-28", "2025-11-25"
TOOLS = ("echo", "hang", "cut", "wrong_id", "progress", "endless", "resume", "big", "slow")
HINTED = {"annotations": {"readOnlyHint": True, "idempotentHint": True}}


class Asked(NamedTuple):
    """A request: its line, headers and body."""

    method: str
    headers: dict[str, str]
    body: Any


class FakeMcpServer:
    """One incarnation of a server; ``restart`` begins another at the same address.

    ``modern``: it speaks the stateless revision alone. ``lost`` says how it tells that it does not
    know a session: a status, or a JSON-RPC code.
    """

    def __init__(self, *, modern: bool = False, lost: int = 404) -> None:
        self.modern = modern
        self.lost = lost
        self.counts: Counter[str] = Counter()
        self.seen: list[Asked] = []
        self.sessions: set[str] = set()
        self.sockets = 0
        self.tools: list[dict[str, Any]] = [tool(name) for name in TOOLS]
        self.answers: dict[str, Callable[[Asked], Awaitable[dict[str, Any]]]] = {}
        self.changed = anyio.Event()
        self.port = 0
        self.connections: dict[asyncio.StreamWriter, asyncio.StreamReader] = {}

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/mcp"

    def restart(self) -> None:
        """Forget all sessions and cut all connections, as a new process would."""
        self.sessions.clear()
        for writer in self.connections:
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection."""
        self.sockets += 1
        self.connections[writer] = reader
        try:
            while (asked := await _read(reader)) is not None:
                await self._answer(asked, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            self.sockets -= 1
            del self.connections[writer]
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = asked.body if isinstance(asked.body, dict) else {}
        method = body.get("method", asked.method)
        self.counts[method] += 1
        if method not in {"tools/call", "ping"}:
            self.seen.append(asked)
        if asked.method == "GET":
            await self._listen(asked, writer)
        elif asked.method == "DELETE":
            self.sessions.discard(asked.headers.get("mcp-session-id", ""))
            writer.write(_response(200, b""))
        elif "id" not in body or "method" not in body:
            writer.write(_response(202, b""))
        elif method == "initialize" and not self.modern:
            self._open(body["id"], writer)
        elif not self.modern and asked.headers.get("mcp-session-id") not in self.sessions:
            self._unknown(body["id"], writer)
        elif method == "tools/call":
            await self._call(asked, writer)
        elif method == "subscriptions/listen" and self.modern:
            await self._subscribed(body["id"], writer)
        else:
            writer.write(_json(self.plain(method, body)))
        await writer.drain()

    def _open(self, number: Any, writer: asyncio.StreamWriter) -> None:
        name = f"s{self.counts['initialize']}"
        self.sessions.add(name)
        writer.write(_json(_hello(number), **{"mcp-session-id": name}))

    def _unknown(self, number: Any, writer: asyncio.StreamWriter) -> None:
        if self.lost < 0:
            error = {"code": self.lost, "message": "Session not found"}
            writer.write(_json({"jsonrpc": "2.0", "id": number, "error": error}))
        else:
            writer.write(_response(self.lost, b"No valid session ID"))

    def plain(self, method: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request that asks for nothing special."""
        number = body["id"]
        if method == "server/discover" and self.modern:
            return _result(
                number,
                {
                    "resultType": "complete",
                    "supportedVersions": [MODERN],
                    "capabilities": {"tools": {"listChanged": True}},
                    "ttlMs": 60000,
                    "cacheScope": "public",
                },
            )
        if method == "tools/list":
            more = {"ttlMs": 5000, "cacheScope": "public"} if self.modern else {}
            return _result(number, {"tools": self.tools, **more})
        if method == "ping" and not self.modern:
            return _result(number, {})
        return {"jsonrpc": "2.0", "id": number, "error": {"code": -32601, "message": "unknown"}}

    async def _call(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        number, name = asked.body["id"], asked.body["params"]["name"]
        self.counts[name] += 1
        self.seen.append(asked)
        match name:
            case "hang":
                await self._gone(writer)
            case "slow":
                await anyio.sleep(asked.body["params"]["arguments"].get("seconds", 0.05))
                writer.write(_json(_text(number, "slow")))
            case "cut":
                writer.transport.abort()
            case "wrong_id":
                writer.write(_json(_text(number + 1000, "another's")))
            case "progress" | "endless":
                await _progress(asked.body, writer, endless=name == "endless")
            case "resume":
                writer.write(_SSE + _chunk(f"id: {number}\nretry: 20\ndata:\n\n"))
                writer.write(b"0\r\n\r\n")
            case "big":
                await _big(number, asked.body["params"]["arguments"]["bytes"], writer)
            case _ if name in self.answers:
                writer.write(_json(_result(number, await self.answers[name](asked))))
            case _:
                arguments = asked.body["params"].get("arguments", {})
                writer.write(_json(_text(number, json.dumps(arguments))))

    async def _listen(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.headers.get("mcp-session-id") not in self.sessions:
            writer.write(_response(404, b""))
            return
        writer.write(_SSE)
        if (last := asked.headers.get("last-event-id")) is not None:
            writer.write(_chunk(_event(_text(int(last), "resumed"))))
        else:
            await self.changed.wait()
            note = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
            writer.write(_chunk(_event(note)))
        await self._gone(writer)

    async def _subscribed(self, number: Any, writer: asyncio.StreamWriter) -> None:
        meta = {"_meta": {"io.modelcontextprotocol/subscriptionId": number}}
        writer.write(_SSE)
        for note in ("subscriptions/acknowledged", "tools/list_changed"):
            frame = {"jsonrpc": "2.0", "method": f"notifications/{note}", "params": meta}
            writer.write(_chunk(_event(frame)))
            await self.changed.wait()
        await self._gone(writer)

    async def _gone(self, writer: asyncio.StreamWriter) -> None:
        """Wait for the end of a connection."""
        await self.connections[writer].read(1)


def tool(name: str, **more: Any) -> dict[str, Any]:
    """Return a tool as a server lists it."""
    return {"name": name, "description": name, "inputSchema": {"type": "object"}, **more}


@asynccontextmanager
async def fake_server(
    *, modern: bool = False, lost: int = 404, port: int = 0
) -> AsyncGenerator[FakeMcpServer]:
    """Run a fake server in this process."""
    fake = FakeMcpServer(modern=modern, lost=lost)
    server = await asyncio.start_server(fake.serve, "127.0.0.1", port)
    fake.port = server.sockets[0].getsockname()[1]
    try:
        yield fake
    finally:
        server.close()
        fake.restart()
        await anyio.lowlevel.checkpoint()


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    with suppress(asyncio.IncompleteReadError):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *lines = head.rstrip().split("\r\n")
        headers = {
            name.lower(): value for name, _, value in (line.partition(": ") for line in lines)
        }
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Asked(line.split(" ")[0], headers, json.loads(body) if body else None)
    return None


async def _progress(body: dict[str, Any], writer: asyncio.StreamWriter, *, endless: bool) -> None:
    token = body["params"].get("_meta", {}).get("progressToken")
    writer.write(_SSE)
    done = 0
    while endless or done < 3:
        done += 1
        told = {"progressToken": token, "progress": done, "total": 3, "message": f"step {done}"}
        frame = {"jsonrpc": "2.0", "method": "notifications/progress", "params": told}
        writer.write(_chunk(_event(frame)))
        await writer.drain()
    writer.write(_chunk(_event(_text(body["id"], "done"))) + b"0\r\n\r\n")


async def _big(number: Any, size: int, writer: asyncio.StreamWriter) -> None:
    head, tail = json.dumps(_text(number, "%")).encode().split(b"%")
    length = len(head) + size + len(tail)
    writer.write(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
        + b"content-length: %d\r\n\r\n" % length
        + head
    )
    piece = b"x" * 65536
    for sent in range(0, size, len(piece)):
        writer.write(piece[: size - sent])
        await writer.drain()
    writer.write(tail)


_SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


def _result(number: Any, result: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "result": {"resultType": "complete", **result}}


def _hello(number: Any) -> dict[str, Any]:
    result = {
        "protocolVersion": OLD,
        "capabilities": {"tools": {"listChanged": True}},
        "serverInfo": {"name": "fake", "version": "1"},
    }
    return _result(number, result)


def _text(number: Any, text: str) -> dict[str, Any]:
    return _result(number, {"content": [{"type": "text", "text": text}], "isError": False})


def _event(frame: dict[str, Any]) -> str:
    return f"event: message\ndata: {json.dumps(frame)}\n\n"


def _chunk(text: str) -> bytes:
    data = text.encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


def _json(frame: dict[str, Any], **headers: str) -> bytes:
    return _response(200, json.dumps(frame).encode(), **headers)


def _response(status: int, body: bytes, **headers: str) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{lines}"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


class LeanServer(asyncio.Protocol):
    """Answers calls with as little work as can be, so that a bench measures clients."""

    def __init__(self, *, modern: bool) -> None:
        self._plain = FakeMcpServer(modern=modern)
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer each request that is whole."""
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            size = _LENGTH.search(self._buffer, 0, end + 2)
            whole = end + 4 + (int(size[1]) if size else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            self._transport.write(self._answer(body))

    def _answer(self, body: bytes) -> bytes:
        if not body:
            # The end of a session, by DELETE.
            return _response(200, b"")
        number, method = _ID.search(body), _METHOD.search(body)
        if number is None or method is None:
            return _response(202, b"")
        if method[1] == b"tools/call":
            text = _CALLED % number[1]
            return b"%scontent-length: %d\r\n\r\n%s" % (_HEAD, len(text), text)
        frame: dict[str, Any] = {"id": int(number[1])}
        if method[1] == b"initialize":
            return _json(_hello(frame["id"]), **{"mcp-session-id": "s1"})
        return _json(self._plain.plain(method[1].decode(), frame))


_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
_ID = re.compile(rb'"id": ?(\d+)')
_METHOD = re.compile(rb'"method": ?"([^"]+)"')
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
_CALLED = (
    b'{"jsonrpc":"2.0","id":%s,"result":{"resultType":"complete","content":'
    b'[{"type":"text","text":"{\\"text\\": \\"hello\\", \\"number\\": 7}"}],"isError":false}}'
)


async def _serve_alone(*, modern: bool) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: LeanServer(modern=modern), "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mcp", flush=True)
    await anyio.sleep_forever()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        anyio.run(
            lambda: _serve_alone(modern="modern" in sys.argv),
            backend_options={"use_uvloop": True},
        )

"""One port with the metrics of a whole fleet: those of each process, asked for at each scrape.

A sample is labelled with the name of its process. A process that does not answer in time is left
out.
"""

import re
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager

import anyio
from anyio.abc import ByteReceiveStream, SocketAttribute, SocketStream

from bus.errors import ConfigError
from bus.telemetry.metrics import CONTENT_TYPE

MOST_CONNECTIONS = 8
MOST_REQUEST_BYTES = 8192
MOST_BYTES = 16 * 1024 * 1024
REQUEST_SECONDS = 5.0
SOURCE_SECONDS = 2.0

HERE = "127.0.0.1"
EVERYWHERE = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  only compared

_SAMPLE = re.compile(r"(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)(?P<open>\{)?")
_FAMILY = re.compile(r"# (?:HELP|TYPE) (?P<name>\S+)")

Sources = Callable[[], Mapping[str, int]]
"""Returns the port of each process that tells one, by its name."""


def merged(texts: Mapping[str, str]) -> str:
    """Join texts in the format of Prometheus, each sample labelled with its process. Pure."""
    heads: dict[str, dict[str, None]] = {}
    samples: dict[str, list[str]] = {}
    for process, text in texts.items():
        family = ""
        for line in text.splitlines():
            head = _FAMILY.match(line)
            if head is not None:
                family = head["name"]
                heads.setdefault(family, {})[line] = None
            elif (sample := _SAMPLE.match(line)) is not None:
                samples.setdefault(family, []).append(_labelled(line, sample, process))
    lines = (line for name in samples for line in (*heads.get(name, ()), *samples[name]))
    return "".join(f"{line}\n" for line in lines)


def _labelled(line: str, sample: re.Match[str], process: str) -> str:
    label, rest = f'process="{process}"', line[sample.end() :]
    inner = f"{label},{rest}" if sample["open"] else f"{label}}}{rest}"
    return f"{sample['name']}{{{inner}"


@asynccontextmanager
async def exposing(sources: Sources, *, host: str, port: int) -> AsyncGenerator[str]:
    """Answer scrapes while the context is open, and yield the URL; port 0 takes a free one.

    Raises:
        ConfigError: the address cannot be had.
    """
    try:
        listener = await anyio.create_tcp_listener(local_host=host, local_port=port)
    except OSError as error:
        raise ConfigError("CALLBOARD_METRICS_PORT", f"{host}:{port}: {error.strerror}") from None
    limiter = anyio.CapacityLimiter(MOST_CONNECTIONS)

    async def answer(stream: SocketStream) -> None:
        async with stream:
            try:
                limiter.acquire_on_behalf_of_nowait(stream)
            except anyio.WouldBlock:
                return
            try:
                with anyio.move_on_after(REQUEST_SECONDS):
                    await _answer(stream, sources(), HERE if host in EVERYWHERE else host)
            except (anyio.BrokenResourceError, anyio.EndOfStream, anyio.ClosedResourceError):
                return
            finally:
                limiter.release_on_behalf_of(stream)

    async with listener, anyio.create_task_group() as tasks:
        tasks.start_soon(listener.serve, answer)
        bound = listener.extra(SocketAttribute.local_port)  # noqa: S610  no database here
        yield f"http://{HERE if host in EVERYWHERE else host}:{bound}/metrics"
        tasks.cancel_scope.cancel()


async def _answer(stream: SocketStream, ports: Mapping[str, int], host: str) -> None:
    request = await _until(stream, b"\r\n\r\n", MOST_REQUEST_BYTES)
    if request.split(b" ", 2)[:2] != [b"GET", b"/metrics"]:
        await stream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        return
    texts: dict[str, str] = dict.fromkeys(ports, "")
    async with anyio.create_task_group() as tasks:
        for name, port in ports.items():
            tasks.start_soon(_ask, name, host, port, texts)
    body = merged({name: text for name, text in texts.items() if text}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(body)}\r\n"
    await stream.send(f"{head}Connection: close\r\n\r\n".encode() + body)


async def _ask(name: str, host: str, port: int, texts: dict[str, str]) -> None:
    """Note what one process tells, nothing if it does not in time."""
    with anyio.move_on_after(SOURCE_SECONDS):
        try:
            async with await anyio.connect_tcp(host, port) as source:
                await source.send(b"GET /metrics HTTP/1.1\r\n\r\n")
                answer = await _until(source, None, MOST_BYTES)
        except (OSError, anyio.BrokenResourceError):
            return
        head, _, body = answer.partition(b"\r\n\r\n")
        texts[name] = body.decode(errors="replace") if b" 200 " in head[:20] else ""


async def _until(stream: ByteReceiveStream, end: bytes | None, most: int) -> bytes:
    """Read until ``end`` has come, the stream has ended, or too much is there."""
    data = b""
    while (end is None or end not in data) and len(data) < most:
        try:
            data += await stream.receive()
        except anyio.EndOfStream:
            break
    return data

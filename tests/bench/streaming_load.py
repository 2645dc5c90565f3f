"""Streams asked for in two ways, over the bus and over HTTP, and what arrives of them.

The texts are the times at which the provider wrote them (``streaming_provider``).
"""

import asyncio
import re
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from typing import cast

import anyio
import anyio.abc
import msgspec
from anyio.streams.buffered import BufferedByteReceiveStream

from tests.bench.fleet import Fleet, processor_seconds, resident_megabytes
from tests.bench.http import encoded as http_encoded
from tests.bench.streaming_provider import STAMP_WIDTH
from tests.bench.wire import encoded

LONGEST_SECONDS = 1800.0
_STAMP = re.compile(rb'"content": ?"( *\d+\.\d+)"')
_SILENCE = 30.0


class Arrivals:
    """What arrived: how late each text was, how far apart those of a stream, how streams ended."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.gaps: list[float] = []
        self.stamps: list[float] = []
        self.events = 0
        self.first = self.last = 0.0
        self.ends: Counter[str] = Counter()
        self.then: Callable[[], None] = _nothing
        self._at: dict[object, float] = {}
        self._awaited: tuple[Callable[[], bool], anyio.Event] | None = None

    def came(self, stream: object, stamps: Sequence[float]) -> None:
        """Note the texts of one read."""
        now = time.monotonic()
        self.first = self.first or now
        self.last = now
        self.events += 1
        before = self._at.get(stream)
        if before is not None:
            self.gaps.append(now - before)
        self._at[stream] = now
        self.stamps += stamps
        self.late += [now - stamp for stamp in stamps]
        self._look()

    def ended(self, stream: object, how: str) -> None:
        """Note the end of a stream."""
        self._at.pop(stream, None)
        self.ends[how] += 1
        self.then()
        self._look()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Return when something is reached; it is looked at whenever something comes."""
        event = anyio.Event()
        self._awaited = (reached, event)
        self._look()
        with anyio.fail_after(LONGEST_SECONDS):
            await event.wait()

    def _look(self) -> None:
        if self._awaited is not None and self._awaited[0]():
            self._awaited[1].set()
            self._awaited = None


class Way(ABC):
    """A way from the provider to a client, its processes apart from those of both."""

    def __init__(self) -> None:
        self.arrivals = Arrivals()

    async def ready(self, streams: int) -> None:
        """Prepare for so many streams at once."""
        del streams

    @abstractmethod
    def ask(self, model: str) -> None:
        """Ask for one more stream."""

    @abstractmethod
    def processor_seconds(self) -> dict[str, float]:
        """Return the processor time used so far, by process."""

    @abstractmethod
    def resident(self) -> dict[str, float]:
        """Return the resident memory in megabytes (10**6), by process."""

    def renewed(self) -> Arrivals:
        """Begin to note what arrives anew."""
        self.arrivals = Arrivals()
        return self.arrivals

    async def play(self, model: str, streams: int, total: int | None = None) -> Arrivals:
        """Keep so many streams running until ``total`` have ended; return what arrived."""
        total = total or streams
        await self.ready(streams)
        arrivals = self.renewed()
        left = total - streams

        def next_one() -> None:
            nonlocal left
            if left > 0:
                left -= 1
                self.ask(model)

        arrivals.then = next_one
        for _ in range(streams):
            self.ask(model)
        await arrivals.until(lambda: arrivals.ends.total() >= total)
        return arrivals


class BusWay(Way):
    """Ours: ``llm.generate`` on the bus, deltas on the stream's subject."""

    def __init__(self, fleet: Fleet, url: str) -> None:
        super().__init__()
        self._fleet = fleet
        self._url = url
        self.attempts: int | None = None
        """How often an execution may be attempted, if not as often as usual."""

        self.problems: list[str] = []
        """The codes of what went wrong."""

    async def open(self) -> None:
        """Listen to all streams."""
        await self._fleet.wire.subscribe("cb.local.stream.*", self._take)

    def ask(self, model: str) -> None:
        """See ``Way``."""
        self.ask_as(model, None)

    def ask_as(self, model: str, execution_id: str | None) -> None:
        """Ask for a stream under an id."""
        provider = {"type": "custom", "model": model, "base_url": self._url}
        messages = [{"role": "user", "content": "Tell the time."}]
        limits = {"max_attempts": self.attempts}
        body = {"provider": provider, "messages": messages, "limits": limits}
        data = msgspec.json.encode(body | ({"id": execution_id} if execution_id else {}))
        self._fleet.wire.write(encoded("cb.local.llm.generate", data, "_INBOX.bench.handles"))

    async def cancel(self, execution_id: str) -> None:
        """Cancel a stream."""
        body = {"execution_id": execution_id, "reason": "The client has left."}
        await self._fleet.ask("executions.cancel", body)

    def processor_seconds(self) -> dict[str, float]:
        """See ``Way``."""
        used = self._fleet.processor_seconds()
        del used["bench"]
        return used

    def resident(self) -> dict[str, float]:
        """See ``Way``."""
        return self._fleet.resident()

    def _take(self, subject: bytes, data: bytes) -> None:
        event = _EVENTS.decode(data)
        if event.type == "content_chunk":
            text = event.content
            starts = range(0, len(text), STAMP_WIDTH)
            self.arrivals.came(subject, [float(text[at : at + STAMP_WIDTH]) for at in starts])
        elif event.type in {"completed", "failed", "cancelled"}:
            if event.error is not None:
                self.problems.append(event.error.code)
            self.arrivals.ended(subject, event.type)


class _Problem(msgspec.Struct):
    code: str


class _Event(msgspec.Struct):
    type: str
    content: str = ""
    error: _Problem | None = None


_EVENTS = msgspec.json.Decoder(_Event)


class HttpWay(Way):
    """A relay that speaks HTTP at both sides, or the provider itself."""

    def __init__(self, port: int, path: str, pids: Sequence[int] = ()) -> None:
        super().__init__()
        self._port = port
        self._path = path
        self._pids = pids
        self._idle: list[Listener] = []

    async def ready(self, streams: int) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        while len(self._idle) < streams:
            _, listener = await loop.create_connection(
                lambda: Listener(self), "127.0.0.1", self._port
            )
            self._idle.append(listener)

    def ask(self, model: str) -> None:
        """See ``Way``."""
        messages = [{"role": "user", "content": "Tell the time."}]
        body = {"model": model, "stream": True, "messages": messages}
        self._idle.pop().ask(http_encoded(self._path, msgspec.json.encode(body)))

    def processor_seconds(self) -> dict[str, float]:
        """See ``Way``."""
        return {"relay": sum(map(processor_seconds, self._pids))}

    def resident(self) -> dict[str, float]:
        """See ``Way``."""
        return {"relay": sum(map(resident_megabytes, self._pids))}

    def ended(self, listener: "Listener") -> None:
        """Take back a connection whose stream has ended."""
        self._idle.append(listener)
        self.arrivals.ended(listener, "completed")


class Listener(asyncio.Protocol):
    """One connection to a relay."""

    def __init__(self, way: HttpWay) -> None:
        self._way = way
        self._rest = b""
        self._transport: asyncio.WriteTransport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way to the relay."""
        self._transport = cast("asyncio.WriteTransport", transport)

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Note the texts, and the end."""
        data = self._rest + data
        end = 0
        stamps: list[float] = []
        for match in _STAMP.finditer(data):
            stamps.append(float(match[1]))
            end = match.end()
        if stamps:
            self._way.arrivals.came(self, stamps)
        self._rest = data[end:][-200:]
        if data.endswith(b"0\r\n\r\n"):
            self._rest = b""
            self._way.ended(self)


class Provider:
    """The provider's process: its port, and when connections to it were left in mid-answer."""

    def __init__(self, process: anyio.abc.Process) -> None:
        assert process.stdout is not None
        self._lines = BufferedByteReceiveStream(process.stdout)
        self.port = 0

    async def begin(self) -> None:
        """Learn the port."""
        self.port = int(await self._line())

    @property
    def url(self) -> str:
        """Where its API begins."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def left(self) -> float:
        """Return when the next connection was left."""
        with anyio.fail_after(_SILENCE):
            return float(await self._line())

    async def _line(self) -> bytes:
        return await self._lines.receive_until(b"\n", 100)


@asynccontextmanager
async def provider() -> AsyncGenerator[Provider]:
    """Run a provider while the context is open."""
    async with started("tests.bench.streaming_provider") as process:
        running = Provider(process)
        await running.begin()
        yield running


@asynccontextmanager
async def relay(url: str) -> AsyncGenerator[HttpWay]:
    """Run the bare relay while the context is open."""
    async with started("tests.bench.streaming_relay", f"{url}/chat/completions") as process:
        assert process.stdout is not None
        port = int((await process.stdout.receive()).strip())
        yield HttpWay(port, "/v1/chat/completions", [process.pid])


@asynccontextmanager
async def started(module: str, *arguments: str) -> AsyncGenerator[anyio.abc.Process]:
    """Run a module as a process while the context is open."""
    command = [sys.executable, "-m", module, *arguments]
    root = Path(__file__).parents[2]
    async with await anyio.open_process(command, cwd=root, stdin=DEVNULL, stderr=None) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()


def _nothing() -> None:
    """Nothing follows an end."""

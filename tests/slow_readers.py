"""Readers of one stream that stop after its first event, in a process of their own.

``python -m tests.slow_readers URL TENANT EXECUTION COUNT`` prints a line when all have stopped, and
waits for one; then all read on to the end. It prints how many bytes more it holds from while they
stood still, and the SHA-256 of each text that they have read.
"""

import gc
import hashlib
import sys
import tracemalloc
from collections import Counter
from contextlib import aclosing

import anyio
import anyio.to_thread
import msgspec

from bus.client import Client, follow
from bus.connection import NatsAddress, connect
from bus.telemetry import logs
from schemas.assembly import Assembly


class Read(msgspec.Struct):
    """What the process has to tell: the bytes it held more, and how often each text was read."""

    held: int
    texts: dict[str, int]


class Readers:
    """So many readers that stop at the first event until they are told to go on."""

    def __init__(self, url: str, tenant: str, execution: str, count: int) -> None:
        self._address = NatsAddress(urls=(url,), name="slow-reader")
        self._tenant = tenant
        self._execution = execution
        self._count = count
        self._stopped = 0
        self._all_stopped = anyio.Event()
        self._go_on = anyio.Event()
        self._texts: Counter[str] = Counter()

    async def run(self) -> Read:
        """Read, stop, and read on when a line has come in."""
        held = 0
        async with anyio.create_task_group() as tasks:
            for _ in range(self._count):
                tasks.start_soon(self._read)
            await self._all_stopped.wait()
            before, _ = tracemalloc.get_traced_memory()
            sys.stdout.write("stopped\n")
            sys.stdout.flush()
            await anyio.to_thread.run_sync(sys.stdin.readline)
            gc.collect()
            held = tracemalloc.get_traced_memory()[0] - before
            self._go_on.set()
        return Read(held=held, texts=dict(self._texts))

    async def _read(self) -> None:
        assembly = Assembly()
        async with connect(self._address) as transport:
            reading = follow(Client(transport), self._tenant, self._execution)
            async with aclosing(reading) as events:
                async for event in events:
                    assembly.add(event)
                    if not self._go_on.is_set():
                        self._stop_one()
                        await self._go_on.wait()
        self._texts[hashlib.sha256(assembly.text.encode()).hexdigest()] += 1

    def _stop_one(self) -> None:
        self._stopped += 1
        if self._stopped == self._count:
            self._all_stopped.set()


async def main() -> None:
    """Run the readers that the command line names."""
    url, tenant, execution, count = sys.argv[1:]
    logs.configure("error", "console", stream=sys.stderr)
    tracemalloc.start()
    read = await Readers(url, tenant, execution, int(count)).run()
    sys.stdout.buffer.write(msgspec.json.encode(read) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    anyio.run(main)

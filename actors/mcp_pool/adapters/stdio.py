"""Servers behind standard input and output: one process for each session, frames as lines.

The official SDK's transport for it reads lines of any length, each chunk copied with all before it:
a result of 100 MB holds the event loop for many seconds. Here a line beyond the bound is skipped.
"""

from collections.abc import Callable

import anyio
from anyio.abc import Process

from actors.mcp_pool.adapters.pipe import PipeError, Taken
from actors.mcp_pool.adapters.processes import ended, started
from actors.mcp_pool.core.upstream import LeakCounters, ServerAddress
from actors.mcp_pool.core.wire import FrameLines

_READ_BYTES = 64 * 1024


class StdioPipe:
    """See ``Pipe``."""

    def __init__(self, address: ServerAddress, counters: LeakCounters) -> None:
        self._address = address
        self._counters = counters
        self._process: Process | None = None
        self._hurried = False

    async def run(self, ready: Callable[[], None], taken: Taken) -> None:
        """See ``Pipe.run``."""
        process = self._process = await self._started()
        self._counters.opened["processes"] += 1
        try:
            ready()
            await self._read(process, taken)
        finally:
            with anyio.CancelScope(shield=True):
                await ended(process, at_once=self._hurried)
            self._process = None
            self._counters.closed["processes"] += 1
        raise PipeError(f"The server's process has ended with code {process.returncode}.")

    async def send(self, frame: bytes) -> None:
        """See ``Pipe.send``."""
        process = self._process
        if process is None or process.stdin is None:
            raise PipeError("The server's process has ended.")
        try:
            await process.stdin.send(frame + b"\n")
        except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise PipeError("The server's process takes nothing any more.") from None

    def kill(self) -> None:
        """See ``Pipe.kill``."""
        self._hurried = True

    async def _started(self) -> Process:
        command, env = self._address.command, self._address.env
        reason = "it is no command"
        try:
            # Cancelled in between, the process would be nobody's.
            with anyio.CancelScope(shield=True):
                return await started(command, env)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or reason
        raise PipeError(f"The server's process cannot be started: {reason}.")

    async def _read(self, process: Process, taken: Taken) -> None:
        lines, stdout = FrameLines(), process.stdout
        try:
            while stdout is not None:
                for line in lines.feed(await stdout.receive(_READ_BYTES)):
                    await taken(line)
        except (anyio.EndOfStream, anyio.BrokenResourceError, OSError):
            return

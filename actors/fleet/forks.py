"""Processes started by a fork server, see ``actors.fleet.fork_server``."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence

import anyio
from anyio.abc import ByteReceiveStream

from bus.errors import CallboardError
from bus.server import guard

SERVER = "actors.fleet.fork_server"

SEND_SECONDS = 10.0
"""A server that is still importing takes requests later; only a hung one lets its buffer fill."""

TRIES = 2
"""A fork server may be killed just when it is asked; one that dies again cannot work."""

LENGTH_BYTES = 4
NUMBER_BYTES = 8


class Forked:
    """A process of a fork server, as ``anyio.abc.Process`` where both have something."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self._code: int | None = None
        self._status = status
        self._waiting = anyio.Lock()

    async def wait(self) -> int:
        """Return its return code when it has ended."""
        async with self._waiting:
            while (code := self.returncode) is None:
                await anyio.wait_readable(self._status)
        return code

    @property
    def returncode(self) -> int | None:
        """Its return code if it has ended. If its fork server has, it was sent SIGTERM."""
        if self._code is None:
            try:
                told = os.read(self._status, NUMBER_BYTES)
            except BlockingIOError:
                return None
            os.close(self._status)
            self._code = int.from_bytes(told, signed=True) if told else -signal.SIGTERM
        return self._code

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """Ask it to end in good order."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


class ProcessOutput(ByteReceiveStream):
    """What a process writes."""

    def __init__(self, descriptor: int) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor

    async def receive(self, max_bytes: int = 65536) -> bytes:
        """Return what has come.

        Raises:
            EndOfStream: nobody can write any more.
        """
        await anyio.wait_readable(self._descriptor)
        data = os.read(self._descriptor, max_bytes)
        if not data:
            raise anyio.EndOfStream
        return data

    async def aclose(self) -> None:
        """Read no more."""
        os.close(self._descriptor)


class ForkServer:
    """Starts processes that share the imports of some modules, while the context is open."""

    def __init__(self, modules: Iterable[str]) -> None:
        self._modules = list(modules)
        self._process: subprocess.Popen[bytes] | None = None
        self._requests: socket.socket | None = None
        self._asking = anyio.Lock()

    @property
    def pid(self) -> int | None:
        """The id of the server's process, None before it has begun."""
        return self._process.pid if self._process else None

    def begin(self) -> None:
        """Let it import its modules, unless it has begun and lives."""
        if self._process is not None and self._process.poll() is None:
            return
        self.close()
        self._requests, theirs = socket.socketpair()
        self._requests.settimeout(SEND_SECONDS)
        command = [sys.executable, "-m", SERVER, *self._modules]
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  the interpreter
                [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *command],
                stdin=theirs.fileno(),
                env=os.environ | {"PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    def close(self) -> None:
        """End it, and what it has started."""
        if self._process is not None and self._requests is not None:
            self._requests.close()
            self._process.wait()
            self._process = None

    async def start(self, argv: Sequence[str], environ: Mapping[str, str], output: int) -> Forked:
        """Start ``python -m`` with these arguments, which begin with a module's name.

        Raises:
            CallboardError: the fork server has ended; it said why.
        """
        for _ in range(TRIES):
            async with self._asking:
                self.begin()
                status = self._ask(_packed(argv, environ), output)
            pid = b""
            try:
                await anyio.wait_readable(status)
                pid = os.read(status, NUMBER_BYTES)
            finally:
                if not pid:
                    os.close(status)
            if pid:
                return Forked(int.from_bytes(pid, signed=True), status)
            self.close()
        raise CallboardError(f"{argv[0]} cannot be started: {SERVER} has ended")

    def _ask(self, body: bytes, output: int) -> int:
        """Send a request; return the pipe on which the server tells what becomes of it."""
        status, theirs = os.pipe()
        os.set_blocking(status, False)
        try:
            if self._requests is not None:
                head = len(body).to_bytes(LENGTH_BYTES)
                socket.send_fds(self._requests, [head], [output, theirs])
                self._requests.sendall(body)
        except (BrokenPipeError, ConnectionResetError):
            # It has just ended: the pipe that nobody holds says so.
            return status
        finally:
            os.close(theirs)
        return status


def _packed(argv: Sequence[str], environ: Mapping[str, str]) -> bytes:
    """Pack a request: neither arguments nor variables hold a NUL."""
    variables = (f"{name}={value}" for name, value in environ.items())
    return b"\0".join(os.fsencode(part) for part in (str(len(argv)), *argv, *variables))

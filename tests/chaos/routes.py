"""What lies between the servers of a cluster: connections that can be cut and healed.

A server that is cut off stays up, and with it whoever is connected to it. Between each two servers
there is a proxy for each direction in which one may call the other. Each server advertises a port
on which nothing listens, because servers tell each other their addresses and would bypass the
proxies. Network namespaces would need privileges, proxies need none.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

import anyio
from anyio.abc import Listener, SocketAttribute, SocketStream, TaskGroup

from bus.server.cluster import HOST, Ports, free_ports

Cut = Literal["silent", "broken"]
"""Nothing arrives, as when a cable is out, or connections are closed and none is let in."""

CHUNK_BYTES = 256 * 1024


class Link:
    """The connections that one server makes to another, through a port of its own."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._passable = anyio.Event()
        self._passable.set()
        self._cut: Cut | None = None
        self._connections: set[anyio.CancelScope] = set()

    async def serve(self, tasks: TaskGroup) -> int:
        """Listen, as long as ``tasks`` are not cancelled; return the port."""
        listener = await anyio.create_tcp_listener(local_host=HOST, local_port=0)
        tasks.start_soon(self._serve, listener)
        return int(listener.extra(SocketAttribute.local_port))  # noqa: S610  it is not Django's

    async def _serve(self, listener: Listener[SocketStream]) -> None:
        async with listener:
            await listener.serve(self._connect)

    def cut(self, how: Cut) -> None:
        """Let nothing through until healed."""
        self._cut = how
        self._passable = anyio.Event()
        if how == "broken":
            for connection in self._connections:
                connection.cancel()

    def heal(self) -> None:
        """Let through what waits, and all that follows."""
        self._cut = None
        self._passable.set()

    async def _connect(self, caller: SocketStream) -> None:
        with anyio.CancelScope() as scope:
            self._connections.add(scope)
            try:
                async with caller:
                    if self._cut != "broken":
                        await self._join(caller)
            except (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # Either side has gone, and so the other is closed.
            finally:
                self._connections.discard(scope)

    async def _join(self, caller: SocketStream) -> None:
        await self._passable.wait()
        async with (
            await anyio.connect_tcp(HOST, self._target) as called,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(self._pump, caller, called, tasks.cancel_scope)
            tasks.start_soon(self._pump, called, caller, tasks.cancel_scope)

    async def _pump(
        self, source: SocketStream, sink: SocketStream, both: anyio.CancelScope
    ) -> None:
        try:
            while True:
                data = await source.receive(CHUNK_BYTES)
                await self._passable.wait()
                await sink.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            both.cancel()


class Routes:
    """The links of a cluster. ``ports`` are its servers' own, ``reached`` where each finds all."""

    def __init__(self, ports: Sequence[Ports]) -> None:
        self.ports = ports
        self.reached: list[list[int]] = []
        self._links: dict[tuple[int, int], Link] = {}

    async def open(self, tasks: TaskGroup) -> None:
        """Lay all links."""
        for source in range(len(self.ports)):
            reached: list[int] = []
            for target, place in enumerate(self.ports):
                if target != source:
                    link = self._links[source, target] = Link(place.route)
                    reached.append(await link.serve(tasks))
            self.reached.append(reached)

    def isolate(self, server: int, how: Cut) -> None:
        """Cut a server off from the others."""
        for link in self._of(server):
            link.cut(how)

    def heal(self, server: int) -> None:
        """Give a server back to the others."""
        for link in self._of(server):
            link.heal()

    def _of(self, server: int) -> list[Link]:
        return [link for ends, link in self._links.items() if server in ends]


@asynccontextmanager
async def open_routes() -> AsyncGenerator[Routes]:
    """Lay the links of a cluster on free ports while the context is open."""
    routes = Routes(free_ports())
    async with anyio.create_task_group() as tasks:
        await routes.open(tasks)
        yield routes
        tasks.cancel_scope.cancel()

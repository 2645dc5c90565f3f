"""Makes the connection for an address: the one place that knows all transports."""

from collections.abc import Mapping
from typing import Any

from anyio.abc import TaskGroup

from actors.mcp_pool.adapters.authorized import AuthorizedClient
from actors.mcp_pool.adapters.channel import Channel
from actors.mcp_pool.adapters.pipe import PipeChannel
from actors.mcp_pool.adapters.session import McpSession
from actors.mcp_pool.adapters.sse import SsePipe
from actors.mcp_pool.adapters.stdio import StdioPipe
from actors.mcp_pool.adapters.streamable import StreamableChannel
from actors.mcp_pool.core.upstream import LeakCounters, ServerAddress
from actors.mcp_pool.core.wire_hearing import Hearing
from actors.mcp_pool.core.wire_questions import Person, nobody
from bus.fairness.slices import Slices
from bus.http import HttpClient


class Lanes:
    """Makes upstreams. Their tasks live in ``tasks``, their exchanges go through ``client``.

    Sockets are counted by the client, for all upstreams together. ``person`` answers what servers
    ask the client for, and ``offers`` declares that; in production nobody does.
    """

    def __init__(
        self,
        tasks: TaskGroup,
        client: HttpClient,
        *,
        person: Person = nobody,
        offers: Mapping[str, Any] = {},
    ) -> None:
        self._tasks = tasks
        self._client = client
        self._person = person
        self._offers = offers
        self._slices = Slices()

    def __call__(self, address: ServerAddress) -> McpSession:
        """Return an upstream that is not open yet."""
        counters = LeakCounters()
        channel = self._channel(address, counters)
        return McpSession(address, channel, counters, person=self._person, offers=self._offers)

    def _channel(self, address: ServerAddress, counters: LeakCounters) -> Channel:
        hearing, tasks, slices = Hearing(self._person), self._tasks, self._slices
        bearer = address.bearer
        client = self._client if bearer is None else AuthorizedClient(self._client, bearer)
        if address.kind == "http":
            return StreamableChannel(address, client, tasks, counters, hearing, slices)
        pipe = SsePipe(address, client) if address.kind == "sse" else StdioPipe(address, counters)
        return PipeChannel(pipe, tasks, counters, hearing, slices)

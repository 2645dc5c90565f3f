"""The tools of a server as it has listed them, for as long as it lets them be remembered."""

from collections.abc import Awaitable, Callable

from anyio.abc import TaskGroup

from actors.mcp_pool.core.servers import offered
from actors.mcp_pool.core.upstream import Listing
from actors.mcp_pool.flow.single_flight import SingleFlight
from bus.tasks import loop_time
from schemas.tool_servers import ServerTools
from schemas.tools import ServerTool

USUAL_TTL = 60.0
"""Seconds for which a list is remembered of which the server says nothing."""

LONGEST_TTL = 3600.0


class KnownTools:
    """A list of tools by name; ``dropped`` tells what is left out, and why."""

    def __init__(self, listing: Listing[ServerTool], rules: ServerTools) -> None:
        found = (offered(rules, tool) for tool in listing.items)
        self.by_name = {tool.tool: tool for tool in found if tool is not None}
        self.digest = listing.digest
        self.dropped = list(listing.dropped)


Fetch = Callable[[], Awaitable[Listing[ServerTool]]]


class ToolCache:
    """The tools of one server. ``changed`` is told of lists that differ from the one before."""

    def __init__(
        self, rules: ServerTools, tasks: TaskGroup, changed: Callable[[KnownTools], None]
    ) -> None:
        self._rules = rules
        self._changed = changed
        self._known: KnownTools | None = None
        self._until = float("-inf")
        self._fetch: Fetch | None = None
        self._flight = SingleFlight[KnownTools](tasks, self._load)

    @property
    def known(self) -> KnownTools | None:
        """The newest list, if there was one."""
        return self._known

    def stale(self) -> None:
        """Let the list be asked for again when it is needed."""
        self._until = float("-inf")

    async def get(self, fetch: Fetch, deadline: float) -> KnownTools:
        """Return the tools, by ``fetch`` where they are not remembered. Raises UpstreamError."""
        if self._known is not None and loop_time() < self._until:
            return self._known
        return await self.anew(fetch, deadline)

    async def anew(self, fetch: Fetch, deadline: float) -> KnownTools:
        """Return the tools as the server lists them now. Raises UpstreamError."""
        self._fetch = fetch
        return await self._flight.result(deadline)

    async def _load(self) -> KnownTools:
        fetch = self._fetch
        assert fetch is not None  # noqa: S101  a flight is only begun by ``anew``
        listing = await fetch()
        before, now = self._known, KnownTools(listing, self._rules)
        ttl = USUAL_TTL if listing.ttl is None else listing.ttl
        self._until = loop_time() + max(0.0, min(ttl, LONGEST_TTL))
        self._known = now
        if before is not None and before.digest != now.digest:
            self._changed(now)
        return now

"""The pool of one server: its queue, its replicas, its tools, and calls that are tried again."""

import hashlib
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeVar

import anyio

from actors.mcp_pool.adapters import metrics
from actors.mcp_pool.adapters.meter import CallMark
from actors.mcp_pool.core.balance import choose
from actors.mcp_pool.core.retries import pause_before
from actors.mcp_pool.core.servers import ServerSpec, may_repeat
from actors.mcp_pool.core.sessions import SessionKey, affinity_of
from actors.mcp_pool.core.upstream import CallPlan, Listing, ServerAddress, Upstream, UpstreamError
from actors.mcp_pool.flow.line import ServerQueue
from actors.mcp_pool.flow.means import PoolMeans
from actors.mcp_pool.flow.replica import Replica, failure_of
from actors.mcp_pool.flow.tool_cache import KnownTools, ToolCache
from bus.tasks import loop_time
from schemas.tool_servers import ListedKind, PooledServer, ServerState
from schemas.tools import ServerTool, ToolResult

T = TypeVar("T")

LIST_SECONDS = 30.0
"""A whole list of tools, over all pages."""

RELIST_SECONDS = 1.0
"""Names that nobody knows have the tools listed again so often at most."""

MOST_TENANTS = 1000
"""Of those that have used a server lately so many are told when its tools change."""


class Requester(NamedTuple):
    """On whose behalf a server is asked."""

    tenant: str
    agent: str = ""
    execution: str = ""

    @property
    def line(self) -> str:
        """Who takes turns with others."""
        return f"{self.agent}/{self.tenant}"


Addresses = Callable[[ServerSpec, int, str], ServerAddress]
"""Returns where a replica is, with the secrets that may serve a tenant.

Raises ``ProblemError``."""

ListChanged = Callable[["ServerPool", KnownTools, ListedKind], None]
"""Is told of other tools, and of other resources or prompts besides tools that are known."""


class ServerPool:
    """Sends requests to one server."""

    def __init__(
        self, spec: ServerSpec, means: PoolMeans, addresses: Addresses, changed: ListChanged
    ) -> None:
        self.spec = spec
        self.tenants: dict[str, None] = {}
        self.used_at = loop_time()
        self._addresses = addresses
        self._turn = 0
        self._relisted_at = float("-inf")
        self._tasks = means.tasks
        limits = spec.terms.limits
        self._line = ServerQueue(concurrency=limits.concurrency, queue=limits.queue)
        self._changed = changed
        told = partial(self._told, "tools")
        self._cache = ToolCache(spec.terms.tools, means.tasks, told)
        self._replicas = [Replica(spec, n, means) for n in range(len(spec.places))]
        for replica in self._replicas:
            replica.reopened = lambda _: self._relist()
            replica.list_changed = self._list_changed

    @property
    def busy(self) -> bool:
        """Whether calls run or wait."""
        return bool(self._line.running or self._line.waiting)

    @property
    def era(self) -> str:
        """The revisions of the protocol that the server was found to speak."""
        return next((each.opened.era for each in self._replicas if each.opened), "")

    # Calls

    async def call(
        self, who: Requester, plan: CallPlan, tool: ServerTool, mark: CallMark, *, once: bool
    ) -> ToolResult:
        """Call a tool; a call that may be is tried again.

        Raises:
            UpstreamError: it has brought no result.
            ProblemError: a secret must not serve this tenant.
        """
        repeatable = not once and may_repeat(self.spec.terms.tools, plan.tool, tool.hints)

        async def ask(upstream: Upstream) -> ToolResult:
            # From here on the upstream alone knows whether bytes have left.
            before, mark.is_sent = mark.is_sent, True
            try:
                return await upstream.call(plan)
            except UpstreamError as error:
                mark.is_sent = before or failure_of(error).sent
                raise

        async with self._line.place(who.line, plan.deadline):
            return await self._tried(who, plan.deadline, ask, may_repeat=repeatable)

    async def ask(
        self, who: Requester, deadline: float, ask: Callable[[Upstream], Awaitable[T]]
    ) -> T:
        """Ask what changes nothing. Raises as ``call`` does."""
        async with self._line.place(who.line, deadline):
            return await self._tried(who, deadline, ask, may_repeat=True)

    async def _tried(
        self,
        who: Requester,
        deadline: float,
        ask: Callable[[Upstream], Awaitable[T]],
        *,
        may_repeat: bool,
    ) -> T:
        tries, sent = 0, False
        while True:
            tries += 1
            try:
                return await self._once(who, deadline, ask)
            except UpstreamError as error:
                failure = failure_of(error)
                pause = pause_before(failure, tries, may_repeat=may_repeat)
                if pause is None or loop_time() + pause >= deadline:
                    if sent and not failure.sent:
                        # An earlier try may have had its effect, whatever became of this one.
                        raise UpstreamError("outcome_unknown", error.message, sent=True) from None
                    raise
                sent = sent or failure.sent
            await anyio.sleep(pause)

    async def _once(
        self, who: Requester, deadline: float, ask: Callable[[Upstream], Awaitable[T]]
    ) -> T:
        replica = self._chosen()
        self._note(who)
        key, address = self._keyed(replica, who)
        return await replica.request(key, address, deadline, ask)

    def _chosen(self) -> Replica:
        now, self._turn = loop_time(), self._turn + 1
        views = [replica.view(now) for replica in self._replicas]
        number = choose(self.spec.strategy, views, self._turn)
        if number is None:
            wait = min(replica.circuit.wait(now) for replica in self._replicas)
            message = "the server keeps failing and is left alone for a while"
            raise UpstreamError("circuit_open", message, retry_after=wait)
        return self._replicas[number]

    def _keyed(self, replica: Replica, who: Requester) -> tuple[SessionKey, ServerAddress]:
        address = self._addresses(self.spec, replica.number, who.tenant)
        affinity = affinity_of(
            self.spec.terms.sharing,
            stateless=replica.opened.stateless if replica.opened else None,
            tenant=who.tenant,
            agent=who.agent,
            execution=who.execution,
        )
        return SessionKey(credential_of(address), affinity), address

    def _note(self, who: Requester) -> None:
        self.used_at = loop_time()
        self.tenants[who.tenant] = None
        if len(self.tenants) > MOST_TENANTS:
            del self.tenants[next(iter(self.tenants))]

    # Tools

    async def tools(self, who: Requester, deadline: float, *, anew: bool = False) -> KnownTools:
        """Return the server's tools. Raises as ``call`` does."""
        fetch = partial(self._list, who)
        get = self._cache.anew if anew else self._cache.get
        self._note(who)
        return await get(fetch, deadline)

    async def tool(self, who: Requester, name: str, deadline: float) -> ServerTool | None:
        """Return a tool; where it is not known the server is asked once more."""
        known = await self.tools(who, deadline)
        if name not in known.by_name and self._may_relist():
            known = await self.tools(who, deadline, anew=True)
        return known.by_name.get(name)

    def _may_relist(self) -> bool:
        """Say whether an unknown name may have the tools listed again: once in a while."""
        now, before = loop_time(), self._relisted_at
        if now - before < RELIST_SECONDS:
            return False
        self._relisted_at = now
        return True

    async def _list(self, who: Requester) -> Listing[ServerTool]:
        deadline = loop_time() + LIST_SECONDS
        return await self._tried(
            who, deadline, lambda upstream: upstream.list_tools(deadline), may_repeat=True
        )

    def _list_changed(self, kind: str) -> None:
        known = self._cache.known
        match kind:
            case "tools":
                self._relist()
            case "resources" | "prompts" if known is not None:
                self._told(kind, known)
            case _:
                return

    def _told(self, kind: ListedKind, known: KnownTools) -> None:
        self._changed(self, known, kind)

    def _relist(self) -> None:
        """Ask for the tools again, so that who listens hears of a change at once."""
        self._cache.stale()
        if self._cache.known is not None and self.tenants:
            self._tasks.start_soon(self._relisted, Requester(next(reversed(self.tenants))))

    async def _relisted(self, who: Requester) -> None:
        try:
            await self.tools(who, loop_time() + LIST_SECONDS, anew=True)
        except UpstreamError:
            self._cache.stale()

    # Looking after it

    def tick(self, now: float) -> None:
        """Look after the replicas."""
        worst = 0
        for replica in self._replicas:
            replica.tick(now)
            worst = max(worst, metrics.CIRCUIT_STATES[replica.circuit.state(now)])
        metrics.CIRCUIT.at(self.spec.name).set(worst)

    def give_up(self) -> None:
        """Leave all sessions; they are closed once their calls have ended."""
        for replica in self._replicas:
            replica.give_up()

    async def close(self) -> None:
        """Close all sessions now."""
        for replica in self._replicas:
            await replica.close()

    def state(self) -> ServerState:
        """Show how the server fares here."""
        now, known = loop_time(), self._cache.known
        opened = next((each.opened for each in self._replicas if each.opened), None)
        return ServerState(
            server=self.spec.name,
            reachable=False,
            lane=self.spec.places[0].lane,
            era=opened.era if opened else "",
            protocol=opened.version if opened else "",
            name=opened.server if opened else "",
            tools=len(known.by_name) if known else 0,
            digest=known.digest if known else "",
            dropped=known.dropped if known else [],
            waiting=self._line.waiting,
            in_flight=self._line.running,
            replicas=[replica.state(now) for replica in self._replicas],
        )

    def pooled(self) -> PooledServer:
        """Show the same in short."""
        now, circuits = loop_time(), dict[str, int]()
        for replica in self._replicas:
            state = replica.circuit.state(now)
            circuits[state] = circuits.get(state, 0) + 1
        return PooledServer(
            server=self.spec.name,
            tenant=self.spec.owner,
            circuits=circuits,
            sessions=sum(replica.sessions for replica in self._replicas),
            in_flight=self._line.running,
            waiting=self._line.waiting,
        )


def credential_of(address: ServerAddress) -> str:
    """Return what tells the credentials of sessions apart, without telling them."""
    whose = address.bearer.key if address.bearer is not None else ""
    told = sorted(address.headers.items()), sorted(address.env.items()), whose
    return hashlib.sha256(repr(told).encode()).hexdigest()

"""One replica of a server: its sessions by key, its circuit and how it fares."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from math import inf
from typing import TypeVar

import anyio
import structlog
from anyio.abc import TaskGroup

from actors.mcp_pool.core.balance import ReplicaHealth, ReplicaView
from actors.mcp_pool.core.retries import CallFailure, counts_against_server
from actors.mcp_pool.core.servers import ServerSpec
from actors.mcp_pool.core.sessions import SessionKey, SessionLife
from actors.mcp_pool.core.upstream import Opened, ServerAddress, Upstream, UpstreamError
from actors.mcp_pool.flow.means import PoolMeans, answered
from actors.mcp_pool.flow.single_flight import SingleFlight
from bus.tasks import loop_time
from schemas.circuit import Circuit, Pass, Trip
from schemas.tool_servers import ReplicaState
from schemas.tools import UNSENT

log = structlog.get_logger()

T = TypeVar("T")

TRIP = Trip(failures=5, share=0.5, window=30.0, pause=5.0, longest_pause=120.0)

GRACE_SECONDS = 2.0
"""Within so much an upstream says itself that a deadline has passed; then it is left to itself."""

CLOSE_SECONDS = 12.0
DRAIN_SECONDS = 30.0
"""For so long at most the calls of a session that is lost or given up may go on."""

PROBE_EACH_SECONDS = 30.0
"""A session that is not used is asked for a sign of life so often."""

PROBE_SECONDS = 5.0


class OpenSession:
    """A session that is open. ``key`` is for whom, ``incarnation`` which of that key."""

    def __init__(
        self, key: SessionKey, upstream: Upstream, opened: Opened, incarnation: int
    ) -> None:
        self.key = key
        self.upstream = upstream
        self.opened = opened
        self.incarnation = incarnation
        self.in_flight = 0
        self.used_at = self.heard_at = loop_time()
        self.is_probed = False
        self.idle = anyio.Event()


class _Slot:
    """The place of one key: at most one session of it is open or being opened."""

    def __init__(self, tasks: TaskGroup, open_: Callable[["_Slot"], Awaitable[None]]) -> None:
        self.life = SessionLife()
        self.session: OpenSession | None = None
        self.opening = SingleFlight[None](tasks, lambda: open_(self))
        self.wanted = 0

    @property
    def is_free(self) -> bool:
        """Whether nobody uses it, so that another key may have its place."""
        busy = self.session is not None and self.session.in_flight
        return not (busy or self.wanted or self.life.state == "opening")


class Replica:
    """Opens sessions when calls need them, and closes them when they are lost or idle."""

    def __init__(self, spec: ServerSpec, number: int, means: PoolMeans) -> None:
        self.spec = spec
        self.number = number
        self.circuit = Circuit(TRIP)
        self.health = ReplicaHealth()
        self.opened: Opened | None = None
        self.in_flight = 0
        self.reopened: Callable[[Opened], None] = lambda _: None
        self.list_changed: Callable[[str], None] = lambda _: None
        self._means = means
        self._slots: OrderedDict[SessionKey, _Slot] = OrderedDict()
        self._room = anyio.Event()
        self._recovers = False
        self._is_over = False
        self._latest: tuple[SessionKey, ServerAddress] | None = None

    # What it looks like

    def view(self, now: float) -> ReplicaView:
        """Return what is decided on."""
        usable = self.circuit.state(now) == "closed"
        return ReplicaView(self.number, self.in_flight, self.health, usable)

    def state(self, now: float) -> ReplicaState:
        """Show the replica."""
        return ReplicaState(
            replica=self.number,
            circuit=self.circuit.state(now),
            sessions=self.sessions,
            in_flight=self.in_flight,
            latency_ms=round(self.health.latency * 1000, 3),
            errors=round(self.health.errors, 3),
        )

    @property
    def sessions(self) -> int:
        """How many sessions are open."""
        return sum(slot.session is not None for slot in self._slots.values())

    # Requests

    async def request(
        self,
        key: SessionKey,
        address: ServerAddress,
        deadline: float,
        ask: Callable[[Upstream], Awaitable[T]],
    ) -> T:
        """Send a request over the session of a key, which is opened where there is none.

        Raises:
            UpstreamError: it has brought no result; also ``circuit_open``.
        """
        passed = self.circuit.admit(loop_time())
        if passed is None:
            wait = self.circuit.wait(loop_time())
            message = "the server keeps failing and is left alone for a while"
            raise UpstreamError("circuit_open", message, retry_after=wait)
        began, session = loop_time(), None
        self.in_flight += 1
        try:
            session = await self._session(key, address, deadline)
            result = await self._over(session, deadline, ask)
        except UpstreamError as error:
            self._failed(passed, session, error)
            raise
        except anyio.get_cancelled_exc_class():
            self.circuit.release(passed)
            raise
        finally:
            self.in_flight -= 1
        now = loop_time()
        self.circuit.succeeded(passed, now)
        self.health = self.health.observed(now - began, good=True)
        return result

    async def _over(
        self, session: OpenSession, deadline: float, ask: Callable[[Upstream], Awaitable[T]]
    ) -> T:
        late = UpstreamError("deadline", "no answer came in time", sent=True)
        session.in_flight += 1
        try:
            result = await answered(ask(session.upstream), deadline + GRACE_SECONDS, late)
        finally:
            self._give_back(session)
        session.heard_at = loop_time()
        return result

    def _failed(self, passed: Pass, session: OpenSession | None, error: UpstreamError) -> None:
        """Learn from a failure; one loss that many calls report speaks against the server once."""
        is_known = error.session_lost and session is not None and not self._leave(session)
        if counts_against_server(failure_of(error)) and not is_known:
            self.circuit.failed(passed, loop_time())
            self.health = self.health.observed(0.0, good=False)
        else:
            self.circuit.release(passed)
        if error.outcome == "deadline" and session is not None and not session.is_probed:
            self._means.tasks.start_soon(self._probe, session)

    def _give_back(self, session: OpenSession) -> None:
        session.in_flight -= 1
        session.used_at = loop_time()
        if not session.in_flight:
            session.idle.set()
            self._room.set()

    # Sessions

    async def _session(
        self, key: SessionKey, address: ServerAddress, deadline: float
    ) -> OpenSession:
        self._latest = (key, address)
        slot = await self._slot(key, address, deadline)
        slot.wanted += 1
        try:
            while slot.life.want() != "use" or slot.session is None:
                await slot.opening.result(deadline)
            return slot.session
        finally:
            slot.wanted -= 1
            self._room.set()
            self._end_if_over(slot)

    def _end_if_over(self, slot: _Slot) -> None:
        """Leave a session that was being opened when all were given up, once nobody waits for it.

        Who is about to use it does so first: it is closed when its calls have ended.
        """
        if self._is_over and slot.session is not None and slot.is_free:
            self._leave(slot.session, slot)

    async def _slot(self, key: SessionKey, address: ServerAddress, deadline: float) -> _Slot:
        """Return the place of a key, once one can be had."""
        while True:
            slot = self._slots.get(key)
            if slot is not None:
                self._slots.move_to_end(key)
                return slot
            if len(self._slots) < self.spec.terms.limits.sessions or self._make_room():
                slot = _Slot(self._means.tasks, lambda slot: self._open(slot, key, address))
                self._slots[key] = slot
                return slot
            if self._room.is_set():
                self._room = anyio.Event()
            with anyio.CancelScope(deadline=deadline) as scope:
                await self._room.wait()
            if scope.cancelled_caught:
                raise UpstreamError("overloaded", "all sessions of the server are in use")

    def _make_room(self) -> bool:
        """Give up the session that was not used for longest; say whether there was one."""
        for key, slot in self._slots.items():
            if slot.is_free:
                del self._slots[key]
                if slot.session is not None:
                    self._leave(slot.session, slot)
                return True
        return False

    async def _open(self, slot: _Slot, key: SessionKey, address: ServerAddress) -> None:
        """Open the session of a key. Raises ``UpstreamError``; the slot is as before then."""
        upstream: Upstream | None = None
        seconds = self.spec.terms.limits.open_seconds
        until = loop_time() + seconds
        late = UpstreamError("not_sent", f"the server did not open a session in {seconds:g} s")
        try:
            upstream = self._means.connect(address, self.spec.is_operators)
            self._means.ledger.add(upstream.counters)
            opened = await answered(upstream.open(until), until + GRACE_SECONDS, late)
            self._opened(slot, key, upstream, opened)
        except UpstreamError as error:
            # Nothing of a call was sent before there is a session.
            outcome = error.outcome if error.outcome in UNSENT else "not_sent"
            raise UpstreamError(outcome, error.message, retry_after=error.retry_after) from None
        finally:
            if slot.session is None:
                # In a task of its own: who waits for this opening is not to wait for its end.
                slot.life.failed()
                if upstream is not None:
                    self._means.tasks.start_soon(self._close, upstream)
        self._end_if_over(slot)

    def _opened(self, slot: _Slot, key: SessionKey, upstream: Upstream, opened: Opened) -> None:
        session = OpenSession(key, upstream, opened, slot.life.opened())
        slot.session = session
        before, self.opened = self.opened, opened
        if opened.stateless and self.spec.terms.sharing == "auto":
            self._share(session)
        if before is not None or slot.life.incarnation > 1:
            self.reopened(opened)
        self._means.tasks.start_soon(self._listen, session)
        log.info(
            "mcp_pool.opened",
            server=self.spec.name,
            replica=self.number,
            protocol=opened.version,
            incarnation=session.incarnation,
        )

    def _share(self, session: OpenSession) -> None:
        """Let all of a credential use a session, now that its server is known to keep none."""
        key = SessionKey(session.key.credential)
        if key not in self._slots and session.key in self._slots:
            self._slots[key] = self._slots.pop(session.key)
            session.key = key

    async def _listen(self, session: OpenSession) -> None:
        with suppress(UpstreamError):
            late = UpstreamError("deadline", "")
            await answered(session.upstream.listen(self.list_changed), inf, late)

    def _leave(self, session: OpenSession, slot: _Slot | None = None) -> bool:
        """Use a session no more, and close it once its calls have ended; say whether it was used.

        However often it is reported lost, it is left once.
        """
        slot = slot or self._slots.get(session.key)
        if slot is None or slot.session is not session or not slot.life.leave(session.incarnation):
            return False
        slot.session = None
        self._means.tasks.start_soon(self._retire, session)
        return True

    async def _retire(self, session: OpenSession) -> None:
        try:
            with anyio.move_on_after(DRAIN_SECONDS):
                while session.in_flight:
                    session.idle = anyio.Event()
                    await session.idle.wait()
        finally:
            await self._close(session.upstream)

    async def _close(self, upstream: Upstream) -> None:
        late = UpstreamError("deadline", "")
        with anyio.CancelScope(shield=True), suppress(UpstreamError):
            await answered(upstream.close(), loop_time() + CLOSE_SECONDS, late)
        self._means.ledger.retire(upstream.counters)

    # Signs of life

    def tick(self, now: float) -> None:
        """Close what is idle, ask for signs of life, and try a server that was left alone."""
        for slot in list(self._slots.values()):
            session = slot.session
            if session is None or session.in_flight or slot.wanted:
                continue
            if now - session.used_at >= self.spec.terms.limits.idle_seconds:
                self._leave(session)
            elif now - max(session.heard_at, session.used_at) >= PROBE_EACH_SECONDS:
                self._means.tasks.start_soon(self._probe, session)
        if self.circuit.state(now) == "half_open" and not self._recovers and self._latest:
            self._recovers = True
            self._means.tasks.start_soon(self._recover, *self._latest)

    async def _probe(self, session: OpenSession) -> None:
        """Ask a session for a sign of life; without one it is left, and closed."""
        if session.is_probed:
            return
        session.is_probed = True
        until = loop_time() + PROBE_SECONDS
        late = UpstreamError("deadline", "")
        try:
            await answered(session.upstream.probe(until), until + GRACE_SECONDS, late)
            session.heard_at = loop_time()
        except UpstreamError:
            self._leave(session)
        finally:
            session.is_probed = False

    async def _recover(self, key: SessionKey, address: ServerAddress) -> None:
        """Let one sign of life be the probe of a half-open circuit, before any call is."""
        try:
            deadline = loop_time() + self.spec.terms.limits.open_seconds
            await self.request(key, address, deadline, lambda up: up.probe(deadline))
        except UpstreamError:
            log.info("mcp_pool.still_failing", server=self.spec.name, replica=self.number)
        finally:
            self._recovers = False

    async def close(self) -> None:
        """Close all sessions now; their calls are cut off."""
        self._is_over = True
        sessions = [slot.session for slot in self._slots.values() if slot.session is not None]
        self._slots.clear()
        async with anyio.create_task_group() as tasks:
            for session in sessions:
                tasks.start_soon(self._close, session.upstream)

    def give_up(self) -> None:
        """Leave all sessions; they are closed once their calls have ended."""
        self._is_over = True
        for slot in list(self._slots.values()):
            if slot.session is not None:
                self._leave(slot.session)


def failure_of(error: UpstreamError) -> CallFailure:
    """Return an error as a value; what the server refused before it began has had no effect."""
    sent = error.sent and error.outcome not in UNSENT
    return CallFailure(error.outcome, error.message, sent, error.session_lost, error.retry_after)

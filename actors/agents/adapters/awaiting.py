"""Answers those who wait for the end of an execution.

Nobody is polled: who waits is answered when this process hears the public event of the end, by one
look at the execution for all who wait for it. A waiter costs some hundred bytes and no task, and
holds no place among the requests that are worked on.
"""

import heapq
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import count
from typing import NamedTuple

import anyio
from anyio.lowlevel import checkpoint

from bus.errors import CallboardError, ProblemError, problem
from bus.ports import Bus, Delivery
from bus.requests.caller import Caller
from bus.requests.service import reply
from bus.tasks import TaskPool, Wakeup, loop_time
from schemas.executions import ENDED, AwaitedExecution, AwaitExecution, ExecutionRecord
from schemas.problems import Problem

ENDS = "cb.*.events.execution.*.*"
KINDS = frozenset(status.lower() for status in ENDED)

MOST_WAITING = 20_000
MOST_WAITING_EACH = 5_000
"""Of one tenant, so that others may wait, too."""

LOOKS_AT_ONCE = 64
RETRY_SECONDS = 1.0

Execution = tuple[str, str]
"""Tenant and id."""

Look = Callable[[Caller, str], Awaitable[ExecutionRecord]]


class _Waiter(NamedTuple):
    number: int
    until: float
    caller: Caller


class Endings:
    """Who waits here for the ends of which executions."""

    def __init__(self, bus: Bus, look: Look) -> None:
        self._bus = bus
        self._look = look
        self._waiting: dict[Execution, dict[int, _Waiter]] = {}
        self._counts = Counter[str]()
        self._numbers = count()
        self._due: list[tuple[float, Execution]] = []
        self._sooner = Wakeup()
        self._looks: TaskPool[Execution] | None = None
        self._draining = False
        self._nobody = anyio.Event()

    async def run(self) -> None:
        """Hear of ends, and answer whose time is over, until cancelled."""
        transport = self._bus.transport
        forget = transport.on_reconnect(self._missed)
        try:
            async with anyio.create_task_group() as tasks, transport.reception(ENDS, self._heard):
                self._looks = TaskPool(tasks, self._answer, most=LOOKS_AT_ONCE)
                await self._keep_time(self._looks)
        finally:
            forget()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until ends are heard of."""
        return None if self._looks else "the ends of executions are not heard of"

    async def drain(self) -> None:
        """Answer everybody with what is known."""
        self._draining = True
        await self._missed()
        if self._waiting:
            await self._nobody.wait()

    async def wait(self, caller: Caller, wanted: AwaitExecution) -> AwaitedExecution | None:
        """Answer at once where there is nothing to wait for, otherwise later.

        Whoever waits is noted before the look, so that an end between the two is not missed.

        Raises:
            ProblemError: as reading the execution raises; ``rate_limited``: too many wait here.
        """
        this = (caller.tenant, wanted.execution_id)
        until = loop_time() + wanted.timeout_seconds
        waiter = _Waiter(next(self._numbers), until, caller)
        self._add(this, waiter)
        waits = False
        try:
            record = await self._look(caller, wanted.execution_id)
            ended = record.status in ENDED
            waits = not ended and not self._is_over(waiter)
        finally:
            is_left = not waits and self._remove(this, waiter)
        return AwaitedExecution(ended=ended, execution=record) if is_left else None

    # Who waits

    def _add(self, this: Execution, waiter: _Waiter) -> None:
        if self._counts[this[0]] >= MOST_WAITING_EACH or self._counts.total() >= MOST_WAITING:
            most = f"{MOST_WAITING_EACH} of a tenant, {MOST_WAITING} of all"
            message = f"too many requests wait here for ends of executions: {most}"
            raise problem("rate_limited", message, retryable=True)
        self._counts[this[0]] += 1
        self._waiting.setdefault(this, {})[waiter.number] = waiter
        self._look_at(this, waiter.until)

    def _look_at(self, this: Execution, at: float) -> None:
        heapq.heappush(self._due, (at, this))
        if self._due[0][0] == at:
            self._sooner.set()

    def _remove(self, this: Execution, waiter: _Waiter) -> bool:
        """Say whether one still waited: it is answered by whoever removes it."""
        waiting = self._waiting.get(this, {})
        if waiting.pop(waiter.number, None) is None:
            return False
        self._counts[this[0]] -= 1
        if not waiting:
            del self._waiting[this]
        if not self._counts[this[0]]:
            del self._counts[this[0]]
        if self._draining and not self._waiting:
            self._nobody.set()
        return True

    def _is_over(self, waiter: _Waiter) -> bool:
        return self._draining or waiter.until <= loop_time()

    # What is heard

    def _heard(self, delivery: Delivery) -> None:
        _, tenant, _, _, kind, execution = delivery.subject.split(".")
        if kind in KINDS:
            self._wake((tenant, execution))

    async def _missed(self) -> None:
        """Look at all for which somebody waits: an end may have been missed."""
        for this in list(self._waiting):
            self._wake(this)

    def _wake(self, this: Execution) -> None:
        if this in self._waiting and self._looks is not None:
            self._looks.give(this)

    async def _keep_time(self, looks: TaskPool[Execution]) -> None:
        while True:
            now = loop_time()
            over = set[Execution]()
            while self._due and self._due[0][0] <= now:
                over.add(heapq.heappop(self._due)[1])
            for this in over & self._waiting.keys():
                looks.give(this)
            await self._sooner.wait(self._due[0][0] - now if self._due else RETRY_SECONDS)

    async def _answer(self, this: Execution) -> None:
        """Look at an execution, and answer all whose waiting is over."""
        waiting = self._waiting.get(this)
        if not waiting:
            return
        looking = next(iter(waiting.values())).caller
        answer = await self._seen(looking, this[1])
        ended = isinstance(answer, AwaitedExecution) and answer.ended
        for waiter in list(self._waiting.get(this, {}).values()):
            if (ended or self._is_over(waiter)) and self._remove(this, waiter):
                await reply(self._bus.transport, waiter.caller.reply, answer, looking.positions)
                await checkpoint()
        if isinstance(answer, Problem) and this in self._waiting:
            # Its end may be what was heard of, and its owner be away.
            self._look_at(this, loop_time() + RETRY_SECONDS)

    async def _seen(self, caller: Caller, execution_id: str) -> AwaitedExecution | Problem:
        try:
            record = await self._look(caller, execution_id)
        except ProblemError as refused:
            return refused.problem
        except CallboardError as error:
            return Problem(
                code="unavailable", message=str(error), retryable=True, retry_after=RETRY_SECONDS
            )
        return AwaitedExecution(ended=record.status in ENDED, execution=record)

"""Bounds how much of one kind of work goes on at once, for each tenant and for all together."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio

from bus.errors import ProblemError
from schemas.problems import Problem

RETRY_SECONDS = 1.0


class _Gate:
    """One tenant's share; ``count`` is of those inside and of those that wait."""

    def __init__(self, at_once: int) -> None:
        self.inside = anyio.Semaphore(at_once)
        self.count = 0


class Turnstile:
    """Lets so many of each tenant in at once, and ``at_once_all`` of all tenants together.

    Of each tenant ``waiting`` more may wait. ``what`` names the work in refusals. A tenant that
    waits for its own work takes no place of the others.
    """

    def __init__(self, what: str, *, at_once: int, waiting: int, at_once_all: int) -> None:
        self._what = what
        self._at_once = at_once
        self._most = at_once + waiting
        self._all = anyio.Semaphore(at_once_all)
        self._gates: dict[str, _Gate] = {}

    @asynccontextmanager
    async def turn(self, tenant: str) -> AsyncGenerator[None]:
        """Wait for a place, and keep it while the context is open.

        Raises:
            ProblemError: ``rate_limited``, if too many of the tenant wait already.
        """
        gate = self._gates.setdefault(tenant, _Gate(self._at_once))
        if gate.count >= self._most:
            raise ProblemError(self._refusal(gate.count))
        gate.count += 1
        try:
            async with gate.inside, self._all:
                yield
        finally:
            gate.count -= 1
            if not gate.count:
                del self._gates[tenant]

    def _refusal(self, used: int) -> Problem:
        return Problem(
            code="rate_limited",
            message=f"{used} {self._what} of this tenant are under way, {self._most} are allowed",
            retryable=True,
            retry_after=RETRY_SECONDS,
            details={"quota": self._what, "used": used, "allowed": self._most},
        )

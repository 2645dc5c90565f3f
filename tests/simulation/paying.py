"""A worker whose answers cost money: what it has used it reports, however it ends.

An answer is written a piece at a time. Where money is held slice by slice, the worker's own
``Allowance`` asks for more before it goes on, as in the streaming actor.
"""

import random
from collections.abc import Sequence

import anyio

from actors.streaming.core.deltas import TextDelta
from actors.streaming.core.tokens.allowance import Allowance
from bus.errors import ProblemError
from bus.ports import Bus
from bus.requests.rpc import Owners, command
from schemas.ledger import ACCOUNT_KEY, Charge, Extend
from schemas.lifecycle import Deltas, FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import Answer
from schemas.problems import Problem
from schemas.usage import Usage

RATE = 3
"""Pico-dollars a token."""

CHUNK = 4
"""A provider sends at most so many tokens at a time."""

NO_DELTAS = Deltas(count=0, sha256="")
PATIENCE = 5.0


class Writer:
    """Writes answers of at most as many tokens as they may have."""

    def __init__(self, bus: Bus, accounts: Owners) -> None:
        self._bus = bus
        self._accounts = accounts
        self._used: dict[tuple[str, int], int] = {}

    async def write(self, work: GenerateWork) -> FinishGeneration | FailGeneration:
        """Write an answer, or part of one."""
        wanted = random.randint(0, work.request.config.max_tokens or CHUNK)
        allowance = Allowance(work, work.slices) if work.slices else None
        self._used[_name(work)] = 0
        try:
            while self._used[_name(work)] < wanted:
                size = min(random.randint(1, CHUNK), wanted - self._used[_name(work)])
                self._used[_name(work)] += size
                await self._afford(work, allowance, size)
                await anyio.sleep(random.random() * 0.2)
        except ProblemError as refused:
            return self.failed(work, refused.problem)
        if random.random() < 0.1:
            overloaded = Problem(code="provider_error", message="no", retryable=True)
            return self.failed(work, overloaded)
        return self._finished(work)

    def failed(self, work: GenerateWork, problem: Problem) -> FailGeneration:
        """Report the end without an answer."""
        used = self._used.pop(_name(work), None)
        charges = None if used is None else _charges(used)
        return FailGeneration(
            work=str(work.step),
            attempt=work.attempt,
            problem=problem,
            deltas=NO_DELTAS,
            started_at=self._bus.clock(),
            usage=Usage(output=used) if used else None,
            charges=charges,
            decided_at=work.decided_at,
        )

    def _finished(self, work: GenerateWork) -> FinishGeneration:
        used = self._used.pop(_name(work))
        text = f"answer of attempt {work.attempt}"
        return FinishGeneration(
            work=str(work.step),
            attempt=work.attempt,
            answer=Answer(text=text, finish_reason="stop", usage=Usage(output=used)),
            deltas=NO_DELTAS,
            started_at=self._bus.clock(),
            charges=_charges(used),
            decided_at=work.decided_at,
        )

    async def _afford(self, work: GenerateWork, allowance: Allowance | None, size: int) -> None:
        extend = allowance.spend([TextDelta("x" * size)]) if allowance else None
        if allowance is not None and extend is not None:
            await self._grant(work, extend)
            allowance.granted(extend)

    async def _grant(self, work: GenerateWork, extend: Extend) -> None:
        name = f"{work.execution_id}.{work.step}.{work.attempt}.extend.{extend.slice}"
        envelope = command(name, work.tenant, ACCOUNT_KEY, extend)
        await self._accounts.ask(envelope, timeout=PATIENCE)


def _charges(used: int) -> list[Charge]:
    """Return the price of what was used; nothing is no call."""
    usage = Usage(output=used)
    charge = Charge(provider="scripted", model="m", usage=usage, cost_pico=used * RATE)
    return [charge] if used else []


def _name(work: GenerateWork) -> tuple[str, int]:
    return work.execution_id, work.attempt


def cost_of(charges: Sequence[Charge]) -> int:
    """Reckon again what calls have cost: their usage at the only rate there is."""
    return sum(charge.usage.total * RATE for charge in charges)

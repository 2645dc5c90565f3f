"""The scripted provider: plays a definition's own responses, for tests and keyless trial.

Each process counts its calls by tenant and script: the n-th call of a script in a process plays its
n-th response and begins again after the last. A tenant's agents of the same script share the count,
other scripts and tenants do not. After ``REMEMBERED`` other scripts of a tenant, and after an hour,
a script begins at its first response again. Failures do not go by that count but by the attempt
(see core/wires/scripted.py), so that they strike alike in every process.
"""

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.core.deltas import Delta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError, fault
from actors.streaming.core.resilience.memory import ResilienceMemory
from actors.streaming.core.wires import scripted as script
from bus.fairness.slices import Slices
from bus.tasks import loop_time
from schemas.llm import Answer, GenerateRequest
from schemas.providers import Scripted
from schemas.usage import Usage

REMEMBERED = 1024


_NOTHING = script.ScriptPlan((), "other", None)


class ScriptedProvider:
    """Plays scripts."""

    def __init__(self) -> None:
        self._turns: ResilienceMemory[int] = ResilienceMemory(each=REMEMBERED)
        self._slices = Slices()

    def status(self, request: GenerateRequest) -> str:
        """Say that a script is played."""
        return f"Playing the script of {request.provider.model}"

    def call(self, request: GenerateRequest, context: CallContext) -> "ScriptedCall":
        """Take the script's next turn."""
        scripted = request.provider
        if not isinstance(scripted, Scripted):
            raise fault("validation", "This provider plays scripts only.", retryable=False)
        turn = self._next(scripted, context.tenant)
        return ScriptedCall(
            request,
            lambda: script.plan(request, scripted, turn=turn, attempt=context.attempt),
            partial(self._slices.whole, tenant=context.tenant),
            delay=scripted.delay_ms / 1000,
        )

    def _next(self, scripted: Scripted, tenant: str) -> int:
        key, now = hashlib.sha256(msgspec.json.encode(scripted)).digest(), loop_time()
        turn = self._turns.find(tenant, key, now) or 0
        self._turns.note(tenant, key, turn + 1, now)
        return turn


class ScriptedCall:
    """One performance: a word a read, ``delay`` seconds apart."""

    def __init__(
        self,
        request: GenerateRequest,
        plan: Callable[[], script.ScriptPlan],
        do: Callable[[Callable[[], script.ScriptPlan]], Awaitable[script.ScriptPlan]],
        *,
        delay: float,
    ) -> None:
        self._request = request
        self._make_plan = plan
        self._do = do
        self._plan = _NOTHING
        self._delay = delay
        self._played = 0

    @property
    def headers(self) -> Mapping[str, str]:
        """A script has none."""
        return {}

    @property
    def foreign(self) -> bool:
        """A script is played and counted here: nobody else's word is taken."""
        return False

    async def __aenter__(self) -> Self:
        """Begin, once the script is cut into words: long ones take their turns."""
        self._plan = await self._do(self._make_plan)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """There is nothing to close."""

    async def read(self) -> list[Delta] | None:
        """Play the next word, or the scripted failure."""
        if self._played == len(self._plan.words):
            if self._plan.failure is not None:
                raise ProviderFaultError(self._plan.failure)
            return None
        if self._played:
            await anyio.sleep(self._delay)
        word = self._plan.words[self._played]
        self._played += 1
        return [TextDelta(word)]

    def answer(self) -> Answer:
        """Return the whole response."""
        return script.answer(self._request, self._plan)

    def spent(self) -> Usage | None:
        """Count the words played so far; a refusal before the first costs nothing."""
        if self._played == 0:
            return None
        return script.usage(self._request, self._played, "partial_stream")

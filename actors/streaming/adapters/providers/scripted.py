"""The scripted provider: plays a definition's own responses, for tests and keyless trial.

The n-th call of a script plays its n-th response, whichever process makes it, and after the last
the first again (see adapters/script_turns.py). A tenant's agents of the same script share the
count, other scripts and tenants do not. Failures do not go by that count but by the attempt (see
core/wires/scripted.py).
"""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from types import TracebackType
from typing import Self

import anyio

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.script_turns import ScriptTurns
from actors.streaming.core.deltas import Delta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError, fault
from actors.streaming.core.wires import scripted as script
from bus.fairness.slices import Slices
from schemas.llm import Answer, GenerateRequest
from schemas.providers import Scripted
from schemas.usage import Usage

_NOTHING = script.ScriptPlan((), "other", None)


class ScriptedProvider:
    """Plays scripts."""

    def __init__(self, turns: ScriptTurns) -> None:
        self._turns = turns
        self._slices = Slices()

    def status(self, request: GenerateRequest) -> str:
        """Say that a script is played."""
        return f"Playing the script of {request.provider.model}"

    def call(self, request: GenerateRequest, context: CallContext) -> "ScriptedCall":
        """Return the call, which takes the script's next turn when it begins."""
        scripted = request.provider
        if not isinstance(scripted, Scripted):
            raise fault("validation", "This provider plays scripts only.", retryable=False)

        async def planned() -> script.ScriptPlan:
            turn = await self._turns.take(context.tenant, scripted)
            plan = partial(script.plan, request, scripted, turn=turn, attempt=context.attempt)
            # Long scripts are cut into words in turns with others.
            return await self._slices.whole(plan, tenant=context.tenant)

        return ScriptedCall(request, planned, delay=scripted.delay_ms / 1000)


class ScriptedCall:
    """One performance: a word a read, ``delay`` seconds apart."""

    def __init__(
        self,
        request: GenerateRequest,
        plan: Callable[[], Awaitable[script.ScriptPlan]],
        *,
        delay: float,
    ) -> None:
        self._request = request
        self._make_plan = plan
        self._plan = _NOTHING
        self._delay = delay
        self._played = 0
        self._calls: list[Delta] = []

    @property
    def headers(self) -> Mapping[str, str]:
        """A script has none."""
        return {}

    @property
    def foreign(self) -> bool:
        """A script is played and counted here: nobody else's word is taken."""
        return False

    async def __aenter__(self) -> Self:
        """Begin, once the turn is taken and the script cut into words."""
        self._plan = await self._make_plan()
        self._calls = list(self._plan.calls)
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
            calls, self._calls = self._calls, []
            return calls or None
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

"""Running the battery of a conformance check against a live endpoint."""

from collections.abc import AsyncIterator, Collection

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.providers.base import ModelCall
from actors.streaming.core.conformance import (
    AS_IT_IS,
    CASES,
    LONG,
    NAMES,
    Case,
    Finding,
    Manner,
    Seen,
    judged,
    refused,
    refused_key,
)
from actors.streaming.core.deltas import Delta
from actors.streaming.core.faults import ProviderFaultError
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.providers import Provider, Scripted

CLOSING_SECONDS = 0.1
"""After leaving an answer, its connection is closed within this time."""

WRONG_SECRET = "wrong"
"""The name under which ``strangers`` hold a key that no provider knows."""


class Conformance:
    """Asks one endpoint all there is to ask. ``strangers`` are the providers with a wrong key."""

    def __init__(
        self,
        provider: Provider,
        providers: Providers,
        strangers: Providers,
        manner: Manner = AS_IT_IS,
    ) -> None:
        self._provider = provider
        self._manner = manner
        self._providers = providers
        self._strangers = strangers

    async def findings(
        self, tenant: str, patience: float, only: Collection[str] = NAMES
    ) -> AsyncIterator[Finding]:
        """Yield how each case goes; one that takes longer than ``patience`` seconds has failed."""
        for case in CASES:
            if case.name in only:
                yield await self._ask(case, tenant, patience)
        if "cancel" in only:
            yield await self._leave(tenant, patience)
        if "bad key" in only:
            yield await self._deceive(tenant, patience)

    async def _ask(self, case: Case, tenant: str, patience: float) -> Finding:
        request = case.request(self._provider, self._manner)
        try:
            with anyio.fail_after(patience):
                return judged(case, await _played(self._call(self._providers, request, tenant)))
        except ProviderFaultError as error:
            return refused(case, error.problem)
        except TimeoutError:
            return _late(case.name, patience)

    async def _leave(self, tenant: str, patience: float) -> Finding:
        """Leave a long answer at its first piece, and see how long the closing takes."""
        call = self._call(self._providers, LONG.request(self._provider, self._manner), tenant)
        left_at = 0.0
        with anyio.move_on_after(patience) as scope:
            try:
                async with call:
                    while not await call.read():
                        pass
                    left_at = anyio.current_time()
                    scope.cancel()
                    await anyio.sleep_forever()
            except ProviderFaultError as error:
                return refused(LONG, error.problem)._replace(case="cancel")
        if not left_at:
            return _late("cancel", patience)
        seconds = anyio.current_time() - left_at
        verdict = "ok" if seconds <= CLOSING_SECONDS else "failed"
        return Finding("cancel", verdict, f"closed after {seconds * 1000:.1f} ms")

    async def _deceive(self, tenant: str, patience: float) -> Finding:
        """Come with a key that nobody knows."""
        if isinstance(self._provider, Scripted):
            return refused_key(None)
        stranger = msgspec.structs.replace(self._provider, secret=WRONG_SECRET)
        request = CASES[0].request(stranger, self._manner)
        problem: Problem | None = None
        try:
            with anyio.fail_after(patience):
                await _played(self._call(self._strangers, request, tenant))
        except ProviderFaultError as error:
            problem = error.problem
        except TimeoutError:
            return _late("bad key", patience)
        return refused_key(problem)

    def _call(self, providers: Providers, request: GenerateRequest, tenant: str) -> ModelCall:
        context = CallContext(tenant, 1)
        return providers[type(request.provider)].call(request, context)


async def _played(call: ModelCall) -> Seen:
    deltas: list[Delta] = []
    async with call:
        while (read := await call.read()) is not None:
            deltas += read
    return Seen(call.answer(), deltas)


def _late(case: str, patience: float) -> Finding:
    return Finding(case, "failed", f"no end within {patience:g} s")

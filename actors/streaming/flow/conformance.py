"""Running the battery of a conformance check against a live endpoint."""

from collections.abc import AsyncIterator, Collection
from datetime import timedelta
from typing import Any

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext, Outgoing
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import HttpPosting
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.providers.base import ModelCall
from actors.streaming.core.checks import probes
from actors.streaming.core.checks.conformance import (
    AS_IT_IS,
    CASES,
    LONG,
    NAMES,
    Case,
    CaseFinding,
    RunPolicy,
    Seen,
    judged,
    refused,
    refused_key,
)
from actors.streaming.core.deltas import Delta, TextDelta
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.flow.embedding import Embedder
from bus.errors import ProblemError
from bus.jetstream.bus import system_clock
from schemas import bounds
from schemas.embeddings import Embeddings
from schemas.lifecycle import EmbedWork
from schemas.llm import EmbedRequest, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Provider, Scripted
from schemas.vectors import unpacked

CLOSING_SECONDS = 0.1
"""After leaving an answer, its connection is closed within this time."""

_STREAM_OPTIONS = frozenset({"stream_options"})
_ALWAYS_STREAMED = CaseFinding("unstreamed", "lacking", "this format is always a stream")
_NO_EMBEDDING_MODEL = CaseFinding("embeddings", "lacking", "no --embedding-model is named")

WRONG_SECRET = "wrong"
"""The name under which ``strangers`` hold a key that no provider knows."""


class Conformance:
    """Asks one endpoint all there is to ask. ``strangers`` are the providers with a wrong key.

    Embeddings are asked of ``embedding_model``, where one is named.
    """

    def __init__(
        self,
        provider: Provider,
        providers: Providers,
        strangers: Providers,
        policy: RunPolicy = AS_IT_IS,
        embedding_model: str | None = None,
    ) -> None:
        self._embedding_model = embedding_model
        self._provider = provider
        self._policy = policy
        self._providers = providers
        self._strangers = strangers

    async def findings(
        self, tenant: str, patience: float, only: Collection[str] = NAMES
    ) -> AsyncIterator[CaseFinding]:
        """Yield how each case goes; one that takes longer than ``patience`` seconds has failed."""
        for case in CASES:
            if case.name in only:
                yield await self._ask(case, tenant, patience)
        others = {
            "unstreamed": self._whole,
            "cancel": self._leave,
            "bad key": self._deceive,
            "bad model": self._misname,
            "embeddings": self._embed,
            "dimensions": self._resize,
        }
        for name, ask in others.items():
            if name in only:
                yield await ask(tenant, patience)

    async def _ask(self, case: Case, tenant: str, patience: float) -> CaseFinding:
        request = case.request(self._provider, self._policy)
        try:
            with anyio.fail_after(patience):
                return judged(case, await _played(self._call(self._providers, request, tenant)))
        except ProviderFaultError as error:
            return refused(case, error.problem)
        except TimeoutError:
            return _late(case.name, patience)

    async def _leave(self, tenant: str, patience: float) -> CaseFinding:
        """Leave a long answer at its first piece, and see how long the closing takes."""
        call = self._call(self._providers, LONG.request(self._provider, self._policy), tenant)
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
        return CaseFinding("cancel", verdict, f"closed after {seconds * 1000:.1f} ms")

    async def _deceive(self, tenant: str, patience: float) -> CaseFinding:
        """Come with a key that nobody knows."""
        if isinstance(self._provider, Scripted):
            return refused_key(None)
        stranger = msgspec.structs.replace(self._provider, secret=WRONG_SECRET)
        request = CASES[0].request(stranger, self._policy)
        problem: Problem | None = None
        try:
            with anyio.fail_after(patience):
                await _played(self._call(self._strangers, request, tenant))
        except ProviderFaultError as error:
            problem = error.problem
        except TimeoutError:
            return _late("bad key", patience)
        return refused_key(problem)

    async def _misname(self, tenant: str, patience: float) -> CaseFinding:
        """Ask for a model that there is not."""
        nobody = probes.without_model(self._provider)
        if nobody is None:
            return probes.refused_model(None)
        try:
            with anyio.fail_after(patience):
                request = CASES[0].request(nobody, self._policy)
                await _played(self._call(self._providers, request, tenant))
        except ProviderFaultError as error:
            return probes.refused_model(error.problem)
        except TimeoutError:
            return _late("bad model", patience)
        return probes.refused_model(None)

    async def _whole(self, tenant: str, patience: float) -> CaseFinding:
        """Ask for an answer that is no stream, where the format leaves the choice."""
        http = self._providers[type(self._provider)]
        if not isinstance(http, HttpProvider):
            return _ALWAYS_STREAMED
        context = CallContext(tenant, 1)
        request = http.endpoint.settled(CASES[0].request(self._provider, self._policy))
        posting = HttpPosting(http, self._provider, context, patience=patience)
        try:
            outgoing = await http.endpoint.outgoing(request, context, _STREAM_OPTIONS)
            body: dict[str, Any] = bounds.decode(outgoing.body)
            if "stream" not in body:
                return _ALWAYS_STREAMED
            content = msgspec.json.encode({**body, "stream": False})
            whole = outgoing._replace(body=content)
            return probes.unstreamed(await posting.sent(lambda _: _as_it_is(whole)))
        except (ProviderFaultError, ProblemError) as error:
            return refused(CASES[0], error.problem)._replace(case="unstreamed")

    async def _embed(self, tenant: str, patience: float) -> CaseFinding:
        try:
            found = await self._embeddings(tenant, patience)
        except ProblemError as error:
            return probes.not_embedded("embeddings", error.problem)
        return probes.embedded(found) if found else _NO_EMBEDDING_MODEL._replace(case="embeddings")

    async def _resize(self, tenant: str, patience: float) -> CaseFinding:
        """Insist on vectors of half the size."""
        try:
            found = await self._embeddings(tenant, patience)
            if found is None:
                return _NO_EMBEDDING_MODEL._replace(case="dimensions")
            half = max(found.dimensions // 2, 1)
            shorter = await self._embeddings(tenant, patience, half)
        except ProblemError as error:
            return probes.not_embedded("dimensions", error.problem)
        return probes.resized(shorter or found)

    async def _embeddings(
        self, tenant: str, patience: float, dimensions: int | None = None
    ) -> Embeddings | None:
        """Return the vectors of a few texts; None where no model for it is named.

        Raises:
            ProblemError: there are none.
        """
        if self._embedding_model is None or isinstance(self._provider, Scripted):
            return None
        provider = msgspec.structs.replace(self._provider, model=self._embedding_model)
        wanted = EmbedRequest(
            provider=provider,
            texts=list(probes.TEXTS),
            dimensions=dimensions,
            dimensions_strict=True,
        )
        work = EmbedWork(
            execution_id="check",
            tenant=tenant,
            step=1,
            attempt=1,
            deadline=system_clock() + timedelta(seconds=patience),
            request=wanted,
        )
        found = await Embedder(self._providers, system_clock).embedding(work).embedded()
        return Embeddings(
            vectors=[list(unpacked(row)) for row in found.rows],
            dimensions=found.dimensions,
            usage=found.usage,
        )

    def _call(self, providers: Providers, request: GenerateRequest, tenant: str) -> ModelCall:
        context = CallContext(tenant, 1)
        return providers[type(request.provider)].call(request, context)


async def _played(call: ModelCall) -> Seen:
    deltas: list[Delta] = []
    async with call:
        last = anyio.current_time()
        while (read := await call.read()) is not None:
            # Calls of tools are told at the very end, when all of the stream is read.
            last = anyio.current_time() if any(map(_is_text, read)) else last
            deltas += read
        closing = anyio.current_time() - last
    return Seen(call.answer(), deltas, closing)


def _is_text(delta: Delta) -> bool:
    return isinstance(delta, TextDelta)


async def _as_it_is(outgoing: Outgoing) -> Outgoing:
    return outgoing


def _late(case: str, patience: float) -> CaseFinding:
    return CaseFinding(case, "failed", f"no end within {patience:g} s")

"""A call of a model by way of the provider's batch API; see ``ModelCall``."""

import hashlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import anyio
import msgspec

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.providers.base import ModelProvider
from actors.streaming.core.batches.form import BatchForm, Item
from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors.faults import ProviderFaultError, fault
from actors.streaming.core.writing.fitting import fit
from actors.streaming.flow.batch_watch import Placed, WantedBatch
from actors.streaming.flow.batches import Batches
from bus.errors import ProblemError
from schemas.llm import Answer, GenerateRequest
from schemas.problems import Problem
from schemas.providers import Provider
from schemas.usage import Usage

_CANCEL_SECONDS = 5.0

_MOST_ATTEMPTS = 5
"""From this attempt on a failed result is final: attempts that only wait cost nothing and may be
many, but each batch that is made anew may cost."""

_NONE = Problem(code="validation", message="This provider has no batches.", field="batch")


def form_of(provider: ModelProvider, request: GenerateRequest) -> BatchForm | None:
    """Return how a request's provider makes batches; None where it makes none."""
    http = isinstance(provider, HttpProvider)
    return provider.endpoint.batching(request.provider) if http else None


def batch_refusal(provider: ModelProvider, request: GenerateRequest) -> Problem | None:
    """Say why a request cannot be in a batch of its provider; None if it can."""
    return _NONE if request.batch and form_of(provider, request) is None else None


class BatchCall:
    """One request within a batch. Nothing comes until all of it is there."""

    def __init__(
        self,
        provider: HttpProvider,
        batches: Batches,
        form: BatchForm,
        request: GenerateRequest,
        context: CallContext,
    ) -> None:
        self._batches = batches
        self._provider, self._form, self._context = provider, form, context
        self._fitted = fit(request)
        self._reader = provider.endpoint.reader(self._fitted.request)
        self._placed: Placed | None = None
        self._may_cost = False
        self._heard = self._over = self._is_cancelled = False

    @property
    def headers(self) -> Mapping[str, str]:
        """See ``ModelCall.headers``: a batch's tell nothing of the limits of single requests."""
        return {}

    @property
    def foreign(self) -> bool:
        """See ``ModelCall.foreign``."""
        request = self._fitted.request
        return self._provider.endpoint.is_foreign(request.provider, self._context)

    async def __aenter__(self) -> Self:
        """Have the request in a batch."""
        if self._fitted.problem is not None:
            raise ProviderFaultError(self._fitted.problem)
        self._wanted = self._want()
        self._may_cost = True
        try:
            self._placed = await self._batches.place(self._wanted)
        except ProviderFaultError as error:
            self._may_cost = error.problem.code == "outcome_unknown"
            raise
        except anyio.get_cancelled_exc_class():
            self._may_cost = self._batches.carries(self._wanted)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cancel the batch if the request was called off: not if the process only stops.

        A result that was a failure is forgotten, or the next attempt would only read it again.
        """
        if self._heard and isinstance(error, ProviderFaultError):
            await self._batches.forget(self._wanted)
        called_off = kind is not None and issubclass(kind, anyio.get_cancelled_exc_class())
        if not called_off or self._placed is None or self._heard or self._batches.leaving:
            return
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            await self._cancel(self._placed)

    async def read(self) -> list[Delta] | None:
        """Return the whole answer at once, then its tool calls, then None."""
        try:
            return await self._read()
        except ProviderFaultError as error:
            if not self._heard or self._context.attempt < _MOST_ATTEMPTS:
                raise
            final = msgspec.structs.replace(error.problem, retryable=False, retry_after=None)
            raise ProviderFaultError(final) from None

    async def _read(self) -> list[Delta] | None:
        if self._over:
            return None
        if self._heard:
            self._over = True
            return self._reader.finish()
        body = await self._result()
        return [*self._reader.feed(body), *self._reader.feed(b"")]

    def answer(self) -> Answer:
        """See ``ModelCall.answer``."""
        answer = self._reader.answer()
        if not self._fitted.warnings:
            return answer
        return msgspec.structs.replace(answer, warnings=list(self._fitted.warnings))

    def spent(self) -> Usage | None:
        """Return what the answer has used: at most what it may, while the batch may still be made.

        A provider carries out what is not cancelled there, and bills it, whoever has left.
        """
        if not self._may_cost:
            return None
        used = self._reader.spent()
        if self._heard or self._is_cancelled:
            return used
        longest = self._fitted.request.config.max_tokens or 0
        return msgspec.structs.replace(used, output=max(used.output, longest))

    async def _result(self) -> bytes:
        if self._placed is None:
            raise fault("internal", "The call was not entered.", retryable=False)
        try:
            found = await self._batches.result(self._wanted, self._placed)
        except ProviderFaultError as error:
            # What a later attempt waits for, that attempt will tell.
            self._may_cost = not error.problem.retryable
            raise
        self._heard = True
        if isinstance(found, Problem):
            # Only what has succeeded is paid for.
            self._may_cost = False
            raise ProviderFaultError(found)
        return found

    async def _cancel(self, placed: Placed) -> None:
        try:
            await self._batches.cancel(self._wanted, placed)
        except (ProviderFaultError, ProblemError):
            return
        # Of one that was alone the prompt is taken for read: whether it was is not told.
        self._is_cancelled = placed.alone

    def _want(self) -> WantedBatch:
        request, context = self._fitted.request, self._context
        provider = request.provider
        name = name_of(context.tenant, context.step)
        secret = getattr(provider, "secret", None)
        return WantedBatch(
            key=f"{context.tenant}.{name}",
            target=_target(context.tenant, provider),
            secret=secret,
            item=Item(name, self._provider.endpoint.whole(request)),
            form=self._form,
            http=self._provider,
            provider=provider,
            context=context,
        )


def name_of(tenant: str, step: str) -> str:
    """Return the name of a step's request, in its batch and with its tenant as its ticket's key."""
    return hashlib.sha256(f"{tenant}.{step}".encode()).hexdigest()[:32]


def _target(tenant: str, provider: Provider) -> str:
    """Name what requests of one batch share, but for the key: server, model, headers."""
    remote: Any = provider
    described = msgspec.json.encode(
        (tenant, msgspec.structs.replace(remote, secret=None)), order="deterministic"
    )
    return hashlib.sha256(described).hexdigest()[:32]

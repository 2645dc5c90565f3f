"""Embeddings: the calls of one request, several at a time, put together in the order of texts."""

from functools import reduce
from operator import add

import anyio

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import asked
from actors.streaming.adapters.providers import Providers
from actors.streaming.core.embedding import (
    Batch,
    Embedded,
    Format,
    UnreadableError,
    batches,
    format_of,
    read,
)
from actors.streaming.core.faults import ProviderFaultError, fault
from bus.errors import ProblemError, problem
from schemas.embeddings import Embed, Embeddings
from schemas.ids import TenantId

AT_ONCE = 8
"""Calls of one request under way at a time."""

DIGITS = 8
"""Of a number: what 32 bits hold, and short as JSON."""


class Embedder:
    """Embeds texts over the providers of a process."""

    def __init__(self, providers: Providers, *, patience: float = 60.0) -> None:
        self._providers = providers
        self._patience = patience

    async def embed(self, tenant: TenantId, wanted: Embed) -> Embeddings:
        """Return a vector for each text.

        Raises:
            ProblemError: the provider has no embeddings, or one of the calls failed.
        """
        form = format_of(wanted.provider)
        provider = self._providers.get(type(wanted.provider))
        if form is None or not isinstance(provider, HttpProvider):
            raise problem("validation", "This provider has no embeddings.", field="provider")
        calls = list(batches(wanted, form))
        answers: dict[int, Embedded] = {}
        faults: list[ProviderFaultError | ProblemError] = []
        room = anyio.CapacityLimiter(AT_ONCE)

        async def ask(place: int, batch: Batch) -> None:
            try:
                async with room:
                    answers[place] = await self._ask(provider, form, wanted, batch, tenant)
            except (ProviderFaultError, ProblemError) as error:
                faults.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for place, batch in enumerate(calls):
                tasks.start_soon(ask, place, batch)
        if faults:
            raise ProblemError(faults[0].problem)
        return _joined([answers[place] for place in range(len(calls))])

    async def _ask(
        self, provider: HttpProvider, form: Format, wanted: Embed, batch: Batch, tenant: TenantId
    ) -> Embedded:
        context = CallContext(tenant, attempt=1)
        body = await asked(
            provider, wanted.provider, batch.path, batch.body, context, patience=self._patience
        )
        try:
            return read(form, batch, body)
        except UnreadableError:
            raise fault("provider_error", "The provider sent no embeddings.") from None


def _joined(answers: list[Embedded]) -> Embeddings:
    found = [vector for one in answers for vector in one.vectors]
    vectors = [[float(f"{number:.{DIGITS}g}") for number in vector] for vector in found]
    return Embeddings(
        vectors=vectors,
        dimensions=len(vectors[0]),
        model_served=answers[0].model,
        usage=reduce(add, (one.usage for one in answers)),
    )

"""Embeddings: the calls of one request, several at a time, put together in the order of texts."""

from datetime import datetime, timedelta
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
    estimated,
    format_of,
    read,
)
from actors.streaming.core.faults import ProviderFaultError, fault, is_free
from bus.errors import ProblemError, problem
from schemas.embeddings import Embed, Embeddings
from schemas.events import EmbeddedEvent
from schemas.ids import TenantId
from schemas.problems import Problem
from schemas.usage import Usage

AT_ONCE = 8
"""Calls of one request under way at a time."""

DIGITS = 8
"""Of a number: what 32 bits hold, and short as JSON."""


_CALLED_OFF = Problem(code="cancelled", message="The process stopped before all was answered.")


class Embedder:
    """Embeds texts over the providers of a process."""

    def __init__(self, providers: Providers, *, patience: float = 60.0) -> None:
        self._providers = providers
        self._patience = patience

    def embedding(self, tenant: TenantId, wanted: Embed) -> "Embedding":
        """Prepare the calls of one request.

        Raises:
            ProblemError: ``validation``, the provider has no embeddings.
        """
        form = format_of(wanted.provider)
        provider = self._providers.get(type(wanted.provider))
        if form is None or not isinstance(provider, HttpProvider):
            raise problem("validation", "This provider has no embeddings.", field="provider")
        return Embedding(provider, form, wanted, CallContext(tenant, 1), self._patience)


class Embedding:
    """The calls of one request. Whatever becomes of them, ``event`` says what they have used."""

    def __init__(
        self,
        provider: HttpProvider,
        form: Format,
        wanted: Embed,
        context: CallContext,
        patience: float,
    ) -> None:
        self._provider = provider
        self._form = form
        self._wanted = wanted
        self._context = context
        self._patience = patience
        self._spent: dict[int, Usage] = {}
        self._faults: list[ProviderFaultError | ProblemError] = []
        self._answer: Embeddings | None = None

    def event(self, event_id: str, began: datetime, at: datetime) -> EmbeddedEvent | None:
        """Say what all calls have used; None where they have cost nothing."""
        if not self._spent:
            return None
        called_off = None if self._answer else _CALLED_OFF
        return EmbeddedEvent(
            id=event_id,
            provider=str(self._wanted.provider.__struct_config__.tag),
            model=self._wanted.provider.model,
            model_served=self._answer.model_served if self._answer else None,
            texts=len(self._wanted.texts),
            usage=reduce(add, self._spent.values()),
            user=self._wanted.user,
            project=self._wanted.project,
            at=at,
            duration_ms=round((at - began) / timedelta(milliseconds=1)),
            error=self._faults[0].problem if self._faults else called_off,
        )

    async def embedded(self) -> Embeddings:
        """Return a vector for each text.

        Raises:
            ProblemError: one of the calls failed.
        """
        calls = list(batches(self._wanted, self._form))
        answers: dict[int, Embedded] = {}
        room = anyio.CapacityLimiter(AT_ONCE)

        async def ask(place: int, batch: Batch) -> None:
            try:
                async with room:
                    answers[place] = await self._ask(place, batch)
            except (ProviderFaultError, ProblemError) as error:
                self._faults.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            for place, batch in enumerate(calls):
                tasks.start_soon(ask, place, batch)
        if self._faults:
            raise ProblemError(self._faults[0].problem)
        self._answer = _joined([answers[place] for place in range(len(calls))])
        return self._answer

    async def _ask(self, place: int, batch: Batch) -> Embedded:
        # What is begun may be billed, until it is known to be refused.
        self._spent[place] = estimated(batch)
        try:
            body = await asked(
                self._provider,
                self._wanted.provider,
                batch.path,
                batch.body,
                self._context,
                patience=self._patience,
            )
            embedded = read(self._form, batch, body)
        except (ProviderFaultError, ProblemError) as error:
            if is_free(error.problem):
                del self._spent[place]
            raise
        except UnreadableError:
            raise fault("provider_error", "The provider sent no embeddings.") from None
        self._spent[place] = embedded.usage
        return embedded


def _joined(answers: list[Embedded]) -> Embeddings:
    found = [vector for one in answers for vector in one.vectors]
    vectors = [[float(f"{number:.{DIGITS}g}") for number in vector] for vector in found]
    return Embeddings(
        vectors=vectors,
        dimensions=len(vectors[0]),
        model_served=answers[0].model,
        usage=reduce(add, (one.usage for one in answers)),
    )

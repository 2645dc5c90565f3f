"""What one attempt adds to the metrics of its process."""

import time
from types import TracebackType
from typing import Self

from bus.telemetry import metrics
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.providers import Provider
from schemas.streams import StreamEvent, Thinking
from schemas.usage import COUNTS

COUNTED = tuple(kind for kind in COUNTS if kind not in {"reasoning", "searches"})
"""Reasoning is a part of the output, and searches are no tokens."""


class Meter:
    """Counts one attempt while it is entered.

    Its labels are the type and model of the provider that it begins with; tokens are counted under
    the one that has answered.
    """

    def __init__(self, work: GenerateWork) -> None:
        self._work = work
        asked = _asked(work, work.place)
        self._provider = str(asked.__struct_config__.tag)
        self._model = asked.model
        self._open = metrics.STREAMS_OPEN.at("written")
        self._began = time.perf_counter()
        self._has_delta = False

    def __enter__(self) -> Self:
        self._open.inc()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open.dec()

    def published(self, events: list[StreamEvent]) -> None:
        """Count events, and the time to the first that the model wrote."""
        metrics.DELTAS.at(self._provider).inc(len(events))
        if not self._has_delta and not isinstance(events[0], Thinking):
            self._has_delta = True
            self._observe("first_delta")

    def ended(self, result: FinishGeneration | FailGeneration) -> None:
        """Count the end: the tokens of an answer, or the failure."""
        self._observe("end")
        for detour in result.detours:
            metrics.PROVIDER_ERRORS.at(detour.provider, detour.model, detour.problem).inc()
        if isinstance(result, FailGeneration):
            return
        asked = _asked(self._work, result.place)
        provider = str(asked.__struct_config__.tag)
        for kind in COUNTED:
            if tokens := getattr(result.answer.usage, kind):
                metrics.TOKENS.at(provider, asked.model, kind).inc(tokens)

    def _observe(self, until: str) -> None:
        seconds = time.perf_counter() - self._began
        metrics.PROVIDER_SECONDS.at(self._provider, self._model, until).observe(seconds)


def _asked(work: GenerateWork, place: int) -> Provider:
    """Return the provider at a place of the alternatives."""
    fallbacks = work.policy.fallbacks
    return fallbacks[place - 1].provider if 0 < place <= len(fallbacks) else work.request.provider

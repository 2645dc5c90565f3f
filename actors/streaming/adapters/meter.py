"""What attempts and the circuits of providers add to the metrics of their process."""

import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from actors.streaming.adapters import metrics
from schemas.fleet import EndpointState
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.providers import Provider
from schemas.streams import StreamEvent, Thinking
from schemas.usage import COUNTS

_AT_ONCE = 256
"""Events are added to the metric in such portions, for each addition takes a lock."""

COUNTED = tuple(kind for kind in COUNTS if kind not in {"reasoning", "citation", "searches"})
"""Reasoning and citations are parts of the output, and searches are no tokens."""

_CIRCUITS = {"closed": 0, "half_open": 1, "open": 2}


class CallMeter:
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
        self._events = 0

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
        self._add()

    def published(self, events: list[StreamEvent]) -> None:
        """Count events, and the time to the first that the model wrote."""
        if not events:
            return
        self._events += len(events)
        if self._events >= _AT_ONCE:
            self._add()
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

    def _add(self) -> None:
        metrics.DELTAS.at(self._provider).inc(self._events)
        self._events = 0

    def _observe(self, until: str) -> None:
        seconds = time.perf_counter() - self._began
        metrics.PROVIDER_SECONDS.at(self._provider, self._model, until).observe(seconds)


class CircuitMeter:
    """Shows the circuits that were ever seen open; most never are, and need no row of their own."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def show(self, states: Iterable[EndpointState]) -> None:
        """Set the gauges; where tenants send headers of their own, their worst state counts."""
        worst: Counter[str] = Counter()
        for state in states:
            worst[state.endpoint] = max(worst[state.endpoint], _CIRCUITS[state.circuit])
        self._seen |= {endpoint for endpoint, circuit in worst.items() if circuit}
        for endpoint in self._seen:
            metrics.CIRCUIT_STATE.at(endpoint).set(worst[endpoint])
        self._seen &= worst.keys()


def _asked(work: GenerateWork, place: int) -> Provider:
    """Return the provider at a place of the alternatives."""
    fallbacks = work.policy.fallbacks
    return fallbacks[place - 1].provider if 0 < place <= len(fallbacks) else work.request.provider

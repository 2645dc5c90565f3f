"""Embedding calls that begin within a moment of each other, made as one.

Providers answer hundreds of texts as fast as one, and count calls against their limits.
"""

from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio

from actors.streaming.core.embeddings.formats import Embedded, Format
from actors.streaming.core.embeddings.shares import split
from actors.streaming.core.tokens.estimate import tokens
from schemas.problems import Problem

WINDOW_SECONDS = 0.005
"""How long a call waits for others to join it."""

_LEFT = Problem(
    code="unavailable",
    message="The request that had made the call for others was called off.",
    retryable=True,
)


class StateExchange(NamedTuple):
    """How a call has ended: with vectors, or with a problem. ``free`` says that it cost nothing."""

    found: Embedded | None
    problem: Problem | None
    headers: Mapping[str, str]
    free: bool


Ask = Callable[[Sequence[str]], Awaitable[StateExchange]]
"""Makes a call for some texts."""


@dataclass(slots=True)
class _Shared:
    texts: list[Sequence[str]] = field(default_factory=list[Sequence[str]])
    done: anyio.Event = field(default_factory=anyio.Event)
    ended: StateExchange = field(default_factory=lambda: StateExchange(None, _LEFT, {}, free=True))

    def takes(self, texts: Sequence[str], form: Format) -> bool:
        count = sum(map(len, self.texts)) + len(texts)
        characters = sum(len(text) for part in (*self.texts, texts) for text in part)
        return count <= form.size and characters <= form.characters

    def part(self, place: int) -> StateExchange:
        """Return what one request has of the call."""
        found = self.ended.found
        if found is None:
            return self.ended
        start = sum(map(len, self.texts[:place]))
        vectors = found.vectors[start : start + len(self.texts[place])]
        usage = split(found.usage, [sum(map(tokens, texts)) for texts in self.texts])[place]
        return self.ended._replace(found=found._replace(vectors=vectors, usage=usage))


class Sharing:
    """Makes calls, several requests' at a time where their names are the same."""

    def __init__(self) -> None:
        self._open: dict[Hashable, _Shared] = {}

    async def ask(
        self, name: Hashable, texts: Sequence[str], form: Format, ask: Ask
    ) -> StateExchange:
        """Return what is this request's of a call for its texts, made by it or for it."""
        shared = self._open.get(name)
        if shared is not None and shared.takes(texts, form):
            shared.texts.append(texts)
            place = len(shared.texts) - 1
            await shared.done.wait()
            return shared.part(place)
        shared = self._open[name] = _Shared([texts])
        try:
            if len(texts) < form.size:
                await anyio.sleep(WINDOW_SECONDS)
            self._close(name, shared)
            # What is called off from here on may be billed.
            shared.ended = shared.ended._replace(free=False)
            shared.ended = await ask([text for part in shared.texts for text in part])
        finally:
            self._close(name, shared)
            shared.done.set()
        return shared.part(0)

    def _close(self, name: Hashable, shared: _Shared) -> None:
        if self._open.get(name) is shared:
            del self._open[name]

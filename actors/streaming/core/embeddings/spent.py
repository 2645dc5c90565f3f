"""What the calls of one attempt at embeddings have used. Pure."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import NamedTuple

from actors.streaming.core.tokens.charging import Key
from schemas.policy import Detour
from schemas.problems import Problem, ProblemCode
from schemas.providers import Provider
from schemas.usage import Usage


class _Way(NamedTuple):
    """With which key calls have failed, and how."""

    key: Key
    problem: ProblemCode


class Spent:
    """Counts the calls of an attempt at one provider: under way, answered and failed.

    There may be thousands; those that failed alike are counted together.
    """

    def __init__(self, attempt: int, provider: Provider) -> None:
        self._attempt = attempt
        self._provider = provider
        self._begun: dict[int, tuple[Key, Usage]] = {}
        self._answered: dict[Key, Usage] = {}
        self._failed: dict[_Way, Usage | None] = {}

    def begin(self, call: int, key: Key, guess: Usage) -> None:
        """Note a call that may use as much as is guessed."""
        self._begun[call] = (key, guess)

    def answered(self, call: int, usage: Usage) -> None:
        """Note what a call has used that was answered."""
        key, _ = self._begun.pop(call)
        self._answered[key] = _sum(self._answered.get(key), usage) or usage

    def failed(self, call: int, problem: Problem | None, *, is_free: bool) -> None:
        """Note a call that has failed: nothing was heard of what it has used, if anything."""
        key, guess = self._begun.pop(call)
        way = _Way(key, problem.code if problem else "internal")
        self._failed[way] = _sum(self._failed.get(way), None if is_free else guess)

    def leave(self, problem: Problem) -> None:
        """Note that the calls under way are called off: they may be billed all the same."""
        for call in list(self._begun):
            self.failed(call, problem, is_free=False)

    @property
    def usage(self) -> Usage | None:
        """What all calls have used; None if nothing."""
        used = self.by_key().values()
        return reduce(add, used) if used else None

    def by_key(self) -> Mapping[Key, Usage]:
        """Return what was used with each key."""
        used = dict(self._answered)
        failed = ((way.key, usage) for way, usage in self._failed.items() if usage)
        for key, usage in (*failed, *self._begun.values()):
            used[key] = used[key] + usage if key in used else usage
        return used

    def detours(self) -> list[Detour]:
        """Return how calls have failed; what those under way have used is not told yet."""
        return [
            Detour(
                attempt=self._attempt,
                place=0,
                provider=str(self._provider.__struct_config__.tag),
                model=self._provider.model,
                problem=way.problem,
                key=way.key.name,
                usage=usage,
            )
            for way, usage in self._failed.items()
        ]


def _sum(one: Usage | None, other: Usage | None) -> Usage | None:
    return one + other if one is not None and other is not None else one or other

"""The calls of an attempt that failed, or were not made, on the way to its end."""

from functools import reduce
from operator import add

from actors.streaming.core.resilience.routes import Route
from schemas.policy import Detour
from schemas.problems import Problem
from schemas.usage import Usage


class Trail:
    """What is kept of failed calls: enough to explain and to bill them."""

    def __init__(self, attempt: int) -> None:
        self._attempt = attempt
        self.detours: list[Detour] = []

    @property
    def usage(self) -> Usage | None:
        """What all of them have used; None if nothing."""
        usages = [each.usage for each in self.detours if each.usage is not None]
        return reduce(add, usages) if usages else None

    def note(
        self, way: Route, key: str | None, problem: Problem, spent: Usage | None = None
    ) -> Problem:
        """Note a call, and return its problem."""
        detour = Detour(
            attempt=self._attempt,
            place=way.place,
            provider=str(way.provider.__struct_config__.tag),
            model=way.provider.model,
            problem=problem.code,
            key=key,
            usage=spent,
        )
        self.detours.append(detour)
        return problem

"""Work of a size that others choose, as generators that pause: pure, and driven by who has a clock.

A generator pauses wherever it may be interrupted, at least each millisecond or so, and returns its
result. Who drives it (``bus.fairness.slices``) may let others go on at each pause.
"""

from collections.abc import Generator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

Steps = Generator[None, None, T]


class StepsDone(NamedTuple, Generic[T]):
    """The result of work that has come to its end."""

    result: T


def at_once(steps: Steps[T]) -> T:
    """Do work to its end without a pause: for work known to be small, and for tests."""
    while True:
        done = begun(steps)
        if done is not None:
            return done.result


def begun(steps: Steps[T]) -> StepsDone[T] | None:
    """Do work up to its next pause; None if there is more to do. Small work is done by then."""
    try:
        next(steps)
    except StopIteration as end:
        return StepsDone(end.value)
    return None

"""Tokens and markings of a net without data. Pure."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

WAITS, DECLINED = 1, 2
"""What a token says no to for good: transitions that take it alone, and those that take several."""


class Group(NamedTuple):
    """A group of ``size`` tokens. ``which`` of them one is, -1 where they are alike."""

    number: int
    size: int
    which: int = -1


class Token(NamedTuple):
    """A token: where it lies, what its data refuse, its counters, and its groups from without."""

    place: int
    refuses: int = 0
    counters: tuple[int, ...] = ()
    groups: tuple[Group, ...] = ()


class NetState(NamedTuple):
    """How many tokens of each kind there are, in order; those that have ended are left out.

    Tokens of a place with a capacity count there even so.
    """

    tokens: tuple[tuple[Token, int], ...] = ()

    @property
    def size(self) -> int:
        """How many tokens there are."""
        return sum(count for _, count in self.tokens)


FAILED = NetState(((Token(-1), 1),))
"""The instance has failed: nothing fires any more."""


def changed(state: NetState, gone: Iterable[Token], put: Iterable[Token]) -> NetState:
    """Return a marking without some tokens, and with others."""
    left = dict(state.tokens)
    for token in gone:
        if left[token] == 1:
            del left[token]
        else:
            left[token] -= 1
    for token in put:
        left[token] = left.get(token, 0) + 1
    return NetState(tuple(sorted(left.items())))


def lying(state: NetState) -> Iterator[Token]:
    """Yield every token."""
    for token, count in state.tokens:
        for _ in range(count):
            yield token

"""Finds the few events and faults of a history without which it would not fail."""

from collections.abc import Callable, Sequence

from tests.simulation.history import History, play

MAX_TRIES = 400


def shrunk(history: History) -> History:
    """Return a history of the same seed that fails with as little as possible."""
    best = history
    tries = 0

    def fails(names: Sequence[str]) -> bool:
        nonlocal best, tries
        tries += 1
        tried = play(history.seed, frozenset(names), history.story)
        if tried.broken:
            best = tried
        return bool(tried.broken) or tries > MAX_TRIES

    _minimal(history.drawn, fails)
    return best


def _minimal(names: Sequence[str], fails: Callable[[Sequence[str]], bool]) -> Sequence[str]:
    """Return a part of ``names`` that still fails and of which nothing can be left out.

    Delta debugging (Zeller, 2002): leave out ever smaller pieces.
    """
    piece = max(1, len(names) // 2)
    while True:
        reduced = _without_pieces(names, piece, fails)
        if len(reduced) == len(names) and piece == 1:
            return reduced
        names, piece = reduced, max(1, min(piece // 2, len(reduced) // 2))


def _without_pieces(
    names: Sequence[str], piece: int, fails: Callable[[Sequence[str]], bool]
) -> Sequence[str]:
    place = 0
    while place < len(names):
        rest = [*names[:place], *names[place + piece :]]
        if fails(rest):
            names = rest
        else:
            place += piece
    return names

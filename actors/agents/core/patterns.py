"""Names that fit patterns, in which ``*`` stands for any text. Pure."""

from collections.abc import Sequence


def matches(patterns: Sequence[str], name: str) -> bool:
    """Say whether a name fits one of some patterns, in which ``*`` stands for any text."""
    return any(_fits(pattern.split("*"), name) for pattern in patterns)


def _fits(pieces: Sequence[str], name: str) -> bool:
    """Find the pieces between the stars one after the other: no pattern takes long."""
    first, *others = pieces
    if not others:
        return name == first
    if not name.startswith(first) or len(name) < len(first) + len(others[-1]):
        return False
    place, end = len(first), len(name) - len(others[-1])
    for piece in others[:-1]:
        place = name.find(piece, place, end)
        if place < 0:
            return False
        place += len(piece)
    return name.endswith(others[-1])

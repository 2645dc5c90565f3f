r"""The patterns of safety rules: a small language in which nothing can take long.

A pattern is a row of elements: a character, an escape (``\d`` digit, ``\w`` letter, digit or
underscore, ``\s`` white space, ``\`` before anything else means that character), ``.`` for any
character but a line's end, or a class ``[a-z_]``, ``[^…]``. After an element ``?`` says that it may
be missing, ``{n}`` and ``{n,m}`` how often it stands. There are no loops, groups or alternatives,
so a pattern has a longest match, and searching for it takes one step a character.

Letters match in either case.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

MAX_POSITIONS = 100
"""Characters of a pattern's longest match."""

MAX_TOTAL_POSITIONS = 20_000
"""Characters of the longest matches of all words and patterns of a definition together."""

MAX_TOTAL_CLASSES = 1_000
"""Different classes in all patterns of a definition: a new character is compared with each."""

_QUANTIFIER = re.compile(r"\?|\{(\d{1,3})(?:,(\d{1,3}))?\}")
_QUANTIFYING = ("?", "{")
_RESERVED = "*+()|^$?{}[]"


class PatternError(ValueError):
    """A pattern is not of the language; the message says why, without the pattern."""


class CharacterClass(NamedTuple):
    """The characters that an element matches."""

    characters: frozenset[str] = frozenset()
    ranges: tuple[tuple[str, str], ...] = ()
    kinds: frozenset[str] = frozenset()
    negated: bool = False

    @property
    def is_plain(self) -> bool:
        """Whether it lists all its characters."""
        return not (self.ranges or self.kinds or self.negated)

    def matches(self, character: str) -> bool:
        """Say whether a character, in either case, is one of the class."""
        forms = {character, character.lower(), character.upper()}
        found = (
            not self.characters.isdisjoint(forms)
            or any(low <= form <= high for low, high in self.ranges for form in forms)
            or any(_is_of_kind(character, kind) for kind in self.kinds)
        )
        return found is not self.negated


class Position(NamedTuple):
    """One character of a match, which may be missing."""

    characters: CharacterClass
    optional: bool


class Total:
    """Adds up the positions and classes of patterns that are searched for together.

    ``times`` the bounds of one definition are allowed.
    """

    def __init__(self, times: int = 1) -> None:
        self._most = times * MAX_TOTAL_POSITIONS
        self._most_classes = times * MAX_TOTAL_CLASSES
        self._positions = 0
        self._classes: set[CharacterClass] = set()

    def add(self, positions: Sequence[Position]) -> None:
        """Add a pattern.

        Raises:
            PatternError: there is too much.
        """
        self._positions += len(positions)
        if self._positions > self._most:
            raise PatternError(f"may match more than {self._most:,} characters in all")
        self._classes |= {one.characters for one in positions if not one.characters.is_plain}
        if len(self._classes) > self._most_classes:
            raise PatternError(f"hold more than {self._most_classes:,} different classes")


def is_word_character(character: str) -> bool:
    """Say whether a character belongs to a word."""
    return character.isalnum() or character == "_"


def word(text: str) -> tuple[Position, ...]:
    """Return the positions of a literal text."""
    return tuple(Position(_just(each), optional=False) for each in text)


def parse(pattern: str) -> tuple[Position, ...]:
    """Return the positions of a pattern's longest match.

    Raises:
        PatternError: it is not of the language, matches nothing, or may match too much.
    """
    positions: list[Position] = []
    place = 0
    while place < len(pattern):
        characters, place = _element(pattern, place)
        if pattern[place : place + 1] not in _QUANTIFYING:
            positions.append(Position(characters, optional=False))
            continue
        least, most, place = _repetition(pattern, place)
        positions += [Position(characters, optional=False)] * least
        positions += [Position(characters, optional=True)] * (most - least)
        if len(positions) > MAX_POSITIONS:
            raise _too_long()
    if len(positions) > MAX_POSITIONS:
        raise _too_long()
    if all(position.optional for position in positions):
        raise PatternError("matches where there is nothing")
    return tuple(positions)


def _too_long() -> PatternError:
    return PatternError(f"may match more than {MAX_POSITIONS} characters")


def _is_of_kind(character: str, kind: str) -> bool:
    match kind:
        case "d":
            return character.isdecimal()
        case "w":
            return is_word_character(character)
        case "s":
            return character.isspace()
        case _:
            return character != "\n"


def _element(pattern: str, place: int) -> tuple[CharacterClass, int]:
    character = pattern[place]
    if character == "\\":
        return _escape(pattern, place)
    if character == "[":
        return _class(pattern, place + 1)
    if character == ".":
        return CharacterClass(kinds=frozenset(".")), place + 1
    if character in "+*":
        raise PatternError(
            f"there is no {character} (at {place}): write {{1,20}} after an element for how "
            f"often it stands, or \\{character} for the character itself"
        )
    if character in _RESERVED:
        raise PatternError(f"{character} at {place} must be written \\{character}")
    return _just(character), place + 1


@lru_cache(maxsize=1024)
def _just(character: str) -> CharacterClass:
    return CharacterClass(frozenset({character}))


def _escape(pattern: str, place: int) -> tuple[CharacterClass, int]:
    escaped = pattern[place + 1 : place + 2]
    if not escaped or (escaped.isalnum() and escaped not in "dws"):
        raise PatternError(f"the escape at {place} is unknown: there are \\d, \\w and \\s")
    if escaped in "dws":
        return CharacterClass(kinds=frozenset({escaped})), place + 2
    return CharacterClass(frozenset({escaped})), place + 2


def _class(pattern: str, place: int) -> tuple[CharacterClass, int]:
    negated = pattern[place : place + 1] == "^"
    place += negated
    members: list[CharacterClass] = []
    ranges: list[tuple[str, str]] = []
    while place < len(pattern) and pattern[place] != "]":
        low = pattern[place]
        if low == "\\":
            member, place = _escape(pattern, place)
            members.append(member)
        elif pattern[place + 1 : place + 2] == "-" and pattern[place + 2 : place + 3] not in "]\\":
            ranges.append((low, pattern[place + 2]))
            place += 3
        else:
            members.append(CharacterClass(frozenset({low})))
            place += 1
    if place >= len(pattern) or not (members or ranges):
        raise PatternError("a class is empty or has no end")
    characters = frozenset[str]().union(*(member.characters for member in members))
    kinds = frozenset[str]().union(*(member.kinds for member in members))
    return CharacterClass(characters, tuple(ranges), kinds, negated), place + 1


def _repetition(pattern: str, place: int) -> tuple[int, int, int]:
    found = _QUANTIFIER.match(pattern, place)
    if found is None:
        return 1, 1, place
    if found.group() == "?":
        return 0, 1, found.end()
    least = int(found.group(1))
    most = int(found.group(2) or least)
    if most < least or most == 0:
        raise PatternError(f"the repetition at {place} is none")
    return least, most, found.end()

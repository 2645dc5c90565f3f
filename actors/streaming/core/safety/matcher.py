"""Finding the patterns of many rules in a text that comes in pieces, one step a character.

All positions of all patterns are bits of one integer. A search that is under way is a set of such
bits and the place where it began; most characters begin none. A match is the leftmost and of those
the longest, and is reported as soon as no search could still better it, so what is reported depends
on the characters alone and never on where the text was cut.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from schemas.patterns import Position, is_word_character

K = TypeVar("K", str, int)

_REMEMBERED = 4096
"""Characters, and sets of positions, whose steps are worked out once."""


class Sought(NamedTuple):
    """One pattern of a rule; ``whole`` if it must be no part of a longer word."""

    rule: int
    positions: Sequence[Position]
    whole: bool = False


class Match(NamedTuple):
    """The characters from ``start`` up to ``end`` match a rule."""

    start: int
    end: int
    rule: int


class Automaton:
    """What all patterns compile to; shared by the matchers of any number of texts."""

    def __init__(self, sought: Iterable[Sought]) -> None:
        self.first = 0
        self.first_whole = 0
        self.last = 0
        self.last_whole = 0
        self.follow: list[int] = []
        self.rule: list[int] = []
        self._positions: list[Position] = []
        self._masks: dict[str, int] = {}
        self._afters: dict[int, int] = {}
        for each in sought:
            self._add(each)

    def mask(self, character: str) -> int:
        """Return the bits of the positions that a character matches."""
        mask = self._masks.get(character)
        if mask is None:
            mask = _remember(self._masks, character, self._mask(character))
        return mask

    def after(self, bits: int) -> int:
        """Return the bits of the positions that may come next."""
        after = self._afters.get(bits)
        if after is None:
            after = _remember(self._afters, bits, self._after(bits))
        return after

    def begins(self, character: str) -> bool:
        """Say whether a match may begin with a character."""
        return bool(self.mask(character) & (self.first | self.first_whole))

    def rule_of(self, bits: int) -> int:
        """Return the first rule that one of these positions belongs to."""
        return self.rule[(bits & -bits).bit_length() - 1]

    def _mask(self, character: str) -> int:
        matching = (
            1 << bit
            for bit, position in enumerate(self._positions)
            if position.characters.matches(character)
        )
        return sum(matching)

    def _after(self, bits: int) -> int:
        following = 0
        while bits:
            lowest = bits & -bits
            following |= self.follow[lowest.bit_length() - 1]
            bits ^= lowest
        return following

    def _add(self, sought: Sought) -> None:
        base, count = len(self._positions), len(sought.positions)
        self._positions += sought.positions
        self.rule += [sought.rule] * count
        # What may come after the place before a position: up to the first that cannot be missing.
        reach = [0] * (count + 1)
        for place in reversed(range(count)):
            further = reach[place + 1] if sought.positions[place].optional else 0
            reach[place] = 1 << (base + place) | further
        self.follow += reach[1:]
        last = sum(
            1 << (base + place)
            for place in range(count)
            if all(position.optional for position in sought.positions[place + 1 :])
        )
        if sought.whole:
            self.first_whole |= reach[0]
            self.last_whole |= last
        else:
            self.first |= reach[0]
            self.last |= last


def _remember(known: dict[K, int], key: K, value: int) -> int:
    if len(known) >= _REMEMBERED:
        known.clear()
    known[key] = value
    return value


class Matcher:
    """Searches one text. Feed it character by character.

    ``horizon`` is the place up to which the text is decided: no later character can make a match
    begin before it.
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self._searches: list[tuple[int, int]] = []
        self._found: dict[int, Match] = {}
        self._at = 0
        self._after_word = False

    @property
    def horizon(self) -> int:
        """Up to where the text is decided."""
        starts = [start for start, _ in self._searches[:1]]
        return min([self._at, *starts, *self._found])

    @property
    def idle(self) -> bool:
        """Whether no search is under way, so that only a match's first character matters."""
        return not (self._searches or self._found)

    def skip(self, text: str) -> None:
        """Take in a text, while idle, with whose characters no match begins."""
        self._at += len(text)
        self._after_word = is_word_character(text[-1])

    def step(self, character: str) -> list[Match]:
        """Take in the next character and return the matches that are now certain."""
        automaton, in_word = self._automaton, is_word_character(character)
        if not in_word and self._searches:
            self._note(automaton.last_whole, self._at)
        mask = automaton.mask(character)
        searches: list[tuple[int, int]] = []
        for start, bits in self._searches:
            reached = automaton.after(bits) & mask
            if reached:
                searches.append((start, reached))
        begun = automaton.first & mask
        if not self._after_word:
            begun |= automaton.first_whole & mask
        if begun:
            searches.append((self._at, begun))
        self._searches = searches
        self._at += 1
        self._after_word = in_word
        if searches:
            self._note(automaton.last, self._at)
        return self._decide() if self._found else []

    def finish(self) -> list[Match]:
        """Say that the text has ended, and return the last matches."""
        self._note(self._automaton.last_whole, self._at)
        self._searches = []
        return self._decide()

    def _note(self, last: int, end: int) -> None:
        """Note the searches that have come to a last position; the longest of a start wins."""
        for start, bits in self._searches:
            done = bits & last
            if done:
                self._found[start] = Match(start, end, self._automaton.rule_of(done))

    def _decide(self) -> list[Match]:
        decided: list[Match] = []
        while self._found:
            first = min(self._found)
            if self._searches and self._searches[0][0] <= first:
                break
            match = self._found[first]
            decided.append(match)
            self._found = {start: m for start, m in self._found.items() if start >= match.end}
            self._searches = [(start, b) for start, b in self._searches if start >= match.end]
        return decided

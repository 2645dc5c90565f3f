"""The patterns of many rules as one automaton, whose states are worked out as texts need them.

All positions of all patterns are bits of one integer, those of a pattern side by side: the step
from a set of positions to the next is a shift, whatever their number (the bit-parallel simulation
of Shift-And; positions that may be missing are passed by the carry of an addition, after Navarro
and Raffinot, "Flexible Pattern Matching in Strings", 4.3). A set that was met before is a state
whose steps are looked up. What is remembered is bounded in bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

from schemas.patterns import CharacterClass, Position

REMEMBERED_BYTES = 2 * 1024 * 1024
"""For the states of an automaton, and as much for the masks of characters."""

_ENTRY_BYTES = 200
_POSITIONS_A_STEP = 2_000
"""So many positions add what one step of a search costs to the making of a state."""


class Sought(NamedTuple):
    """One pattern of a rule; ``whole`` if it must be no part of a longer word."""

    rule: int
    positions: Sequence[Position]
    whole: bool = False


class State:
    """A set of positions, and where each character leads from it.

    ``rule`` and ``rule_whole`` are the first rules with a match that ends here, None if there is
    none; the latter only where the text goes on with no character of a word.
    """

    __slots__ = ("ahead", "bits", "rule", "rule_whole")

    def __init__(self, bits: int, rule: int | None, rule_whole: int | None) -> None:
        self.bits = bits
        self.rule = rule
        self.rule_whole = rule_whole
        self.ahead: dict[str, State] = {}


class Making:
    """Counts the steps spent on states and masks that were not remembered."""

    __slots__ = ("steps",)

    def __init__(self) -> None:
        self.steps = 0


class Automaton:
    """What all patterns compile to; shared by the matchers of any number of texts.

    Patterns are added, then it is closed, then it may be used.
    """

    def __init__(self, making: Making | None = None) -> None:
        self.nowhere = State(0, None, None)
        self._making = making or Making()
        self._rule: list[int] = []
        self._literals: dict[str, list[int]] = {}
        self._classes: dict[CharacterClass, list[int]] = {}
        self._marks = _Marks()
        self._masks: dict[str, int] = {}
        self._states: dict[int, State] = {}
        self.begun: tuple[dict[str, State], dict[str, State]] = ({}, {})
        """What ``begin`` has returned, not behind a word and behind one."""

        self._remembered = 0

    @property
    def size(self) -> int:
        """The positions of all patterns."""
        return len(self._rule)

    def add(self, sought: Sought) -> None:
        """Take in a pattern, behind those that are there."""
        base, count = len(self._rule), len(sought.positions)
        marks = self._marks
        self._rule += [sought.rule] * count
        (marks.first_whole if sought.whole else marks.first).append(base)
        marks.inner += range(base, base + count - 1)
        last, at_end = (marks.last_whole if sought.whole else marks.last), True
        for place in reversed(range(count)):
            characters, optional = sought.positions[place]
            if at_end:
                last.append(base + place)
            if optional and place < count - 1:
                marks.passed.append(base + place)
            at_end = at_end and optional
            self._note(characters, base + place)

    def close(self) -> None:
        """Say that these are all patterns."""
        marks = self._marks
        self._bytes = self.size // 8
        self._passed, self._inner = _bits(marks.passed), _bits(marks.inner)
        self._last, self._last_whole = _bits(marks.last), _bits(marks.last_whole)
        self._first = self._closed(_bits(marks.first))
        self._first_whole = self._closed(_bits(marks.first_whole))

    def begins(self, character: str) -> bool:
        """Say whether a match may begin with a character."""
        return self.begin(character, after_word=False) is not self.nowhere

    def begin(self, character: str, *, after_word: bool) -> State:
        """Return the state of a search that begins with a character; ``nowhere`` if none does."""
        known = self.begun[after_word]
        state = known.get(character)
        if state is None:
            first = self._first if after_word else self._first | self._first_whole
            state = self._state(first & self._mask(character))
            known[character] = state
        return state

    def onward(self, state: State, character: str) -> State:
        """Return where a character leads from a state that does not know it yet."""
        reached = self._closed((state.bits & self._inner) << 1) & self._mask(character)
        onward = self._state(reached)
        state.ahead[character] = onward
        return onward

    def _closed(self, bits: int) -> int:
        """Add to positions those behind them that are reached by leaving optional ones out."""
        passed = self._passed
        return bits | (passed ^ (passed + (bits & passed)))

    def _state(self, bits: int) -> State:
        self._making.steps += 4 + self.size // _POSITIONS_A_STEP
        self._account()
        if not bits:
            return self.nowhere
        state = self._states.get(bits)
        if state is None:
            rules = self._rule_of(bits & self._last), self._rule_of(bits & self._last_whole)
            state = self._states[bits] = State(bits, *rules)
        return state

    def _rule_of(self, bits: int) -> int | None:
        """Return the first rule that one of these positions belongs to."""
        return self._rule[(bits & -bits).bit_length() - 1] if bits else None

    def _account(self) -> None:
        """Forget all states when they are too many; searches under way keep their own."""
        self._remembered += _ENTRY_BYTES + self._bytes
        if self._remembered <= REMEMBERED_BYTES:
            return
        for state in self._states.values():
            state.ahead.clear()
        self._states.clear()
        for known in self.begun:
            known.clear()
        self._remembered = 0

    def _mask(self, character: str) -> int:
        """Return the bits of the positions that a character matches."""
        mask = self._masks.get(character)
        if mask is None:
            mask = self._made_mask(character)
            if len(self._masks) * (_ENTRY_BYTES + self._bytes) > REMEMBERED_BYTES:
                self._masks.clear()
            self._masks[character] = mask
        return mask

    def _made_mask(self, character: str) -> int:
        self._making.steps += 8 + 8 * len(self._classes)
        found: list[list[int]] = [
            self._literals[form]
            for form in {character, character.lower(), character.upper()}
            if form in self._literals
        ]
        found += [places for one, places in self._classes.items() if one.matches(character)]
        self._making.steps += sum(map(len, found)) // 4
        return _bits(*found)

    def _note(self, characters: CharacterClass, place: int) -> None:
        if characters.is_plain:
            for character in characters.characters:
                self._literals.setdefault(character, []).append(place)
        else:
            self._classes.setdefault(characters, []).append(place)


class _Marks:
    """Which positions begin a pattern, end one, lead on, and may be passed."""

    def __init__(self) -> None:
        self.first: list[int] = []
        self.first_whole: list[int] = []
        self.last: list[int] = []
        self.last_whole: list[int] = []
        self.inner: list[int] = []
        self.passed: list[int] = []


def _bits(*places: list[int]) -> int:
    """Return the integer with bits at these places, in time linear in their number."""
    highest = max((max(one) for one in places if one), default=-1)
    packed = bytearray(highest // 8 + 1)
    for one in places:
        for place in one:
            packed[place >> 3] |= 1 << (place & 7)
    return int.from_bytes(packed, "little")

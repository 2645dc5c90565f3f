"""Finding the patterns of many rules in a text that comes in pieces, one step a character.

A search that is under way is a state of the automaton and the place where it began; most characters
begin none. A match is the leftmost and of those the longest, and is reported as soon as no search
could still better it, so what is reported depends on the characters alone and never on where the
text was cut.
"""

from typing import NamedTuple

from actors.streaming.core.safety.automaton import Automaton, State
from schemas.patterns import is_word_character


class Match(NamedTuple):
    """The characters from ``start`` up to ``end`` match a rule."""

    start: int
    end: int
    rule: int


class Matcher:
    """Searches one text. Feed it character by character.

    ``horizon`` is the place up to which the text is decided: no later character can make a match
    begin before it.
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self.searches: list[tuple[int, State]] = []
        """What is under way: each takes a step a character."""

        self._found: dict[int, Match] = {}
        self._at = 0
        self._after_word = False

    @property
    def horizon(self) -> int:
        """Up to where the text is decided."""
        first = self.searches[0][0] if self.searches else self._at
        return min(first, *self._found) if self._found else first

    @property
    def idle(self) -> bool:
        """Whether no search is under way, so that only a match's first character matters."""
        return not (self.searches or self._found)

    def skip(self, text: str) -> None:
        """Take in a text, while idle, with whose characters no match begins."""
        self._at += len(text)
        self._after_word = is_word_character(text[-1])

    def step(self, character: str) -> list[Match]:
        """Take in the next character and return the matches that are now certain."""
        automaton, in_word = self._automaton, is_word_character(character)
        nowhere = automaton.nowhere
        if not in_word and self.searches:
            self._note_words()
        searches: list[tuple[int, State]] = []
        for start, state in self.searches:
            reached = state.ahead.get(character) or automaton.onward(state, character)
            if reached is not nowhere:
                searches.append((start, reached))
        begun = automaton.begun[self._after_word].get(character)
        if begun is None:
            begun = automaton.begin(character, after_word=self._after_word)
        if begun is not nowhere:
            searches.append((self._at, begun))
        self.searches = searches
        self._at += 1
        self._after_word = in_word
        for start, state in searches:
            if state.rule is not None:
                self._found[start] = Match(start, self._at, state.rule)
        return self._decide() if self._found else []

    def finish(self) -> list[Match]:
        """Say that the text has ended, and return the last matches."""
        self._note_words()
        self.searches = []
        return self._decide()

    def _note_words(self) -> None:
        """Note the searches that have come to a word's end; the longest match of a start wins."""
        for start, state in self.searches:
            if state.rule_whole is not None:
                self._found[start] = Match(start, self._at, state.rule_whole)

    def _decide(self) -> list[Match]:
        decided: list[Match] = []
        while self._found:
            first = min(self._found)
            if self.searches and self.searches[0][0] <= first:
                break
            match = self._found[first]
            decided.append(match)
            self._found = {start: m for start, m in self._found.items() if start >= match.end}
            self.searches = [(start, b) for start, b in self.searches if start >= match.end]
        return decided

"""One text under the rules of an agent: what of it may go on, and what was found.

A rule with outcome ``blocked`` ends the text before its match. ``redacted`` replaces the match.
``flagged`` only counts. The three are searched for apart, so that a harmless match never hides a
forbidden one. Nothing is held back but characters that could still be the beginning of a match.
"""

from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from actors.streaming.core.safety.matcher import Automaton, Match, Matcher, Sought
from schemas.patterns import parse, word
from schemas.safety import Finding, SafetyOutcome, SafetyPlace, SafetyRule

REMEMBERED_RULE_SETS = 256
REMEMBERED_CHARACTERS = 4096


class RuleSet(NamedTuple):
    """The rules for one place, compiled: an automaton an outcome that there are rules for."""

    place: SafetyPlace
    rules: tuple[SafetyRule, ...]
    automata: dict[SafetyOutcome, Automaton]
    known: dict[str, bool]

    def begins(self, character: str) -> bool:
        """Say whether a match of any rule may begin with a character."""
        begins = self.known.get(character)
        if begins is None:
            begins = any(automaton.begins(character) for automaton in self.automata.values())
            if len(self.known) >= REMEMBERED_CHARACTERS:
                self.known.clear()
            self.known[character] = begins
        return begins


def compile_rules(rules: Sequence[SafetyRule], place: SafetyPlace) -> RuleSet:
    """Prepare the rules that hold for a place.

    Raises:
        PatternError: a pattern is not of the language.
    """
    here = tuple(rule for rule in rules if place in rule.places)
    automata: dict[SafetyOutcome, Automaton] = {}
    outcomes: list[SafetyOutcome] = [rule.outcome for rule in here]
    for outcome in outcomes:
        sought = [
            one
            for number, rule in enumerate(here)
            if rule.outcome == outcome
            for one in _sought(number, rule)
        ]
        automata[outcome] = Automaton(sought)
    return RuleSet(place, here, automata, {})


class RuleLibrary:
    """Compiled rules, kept for the next attempt under the same ones."""

    def __init__(self) -> None:
        self._compiled: OrderedDict[bytes, RuleSet] = OrderedDict()

    def of(self, rules: Sequence[SafetyRule], place: SafetyPlace) -> RuleSet:
        """Return the rules that hold for a place."""
        name = msgspec.json.encode((place, rules))
        compiled = self._compiled.pop(name, None) or compile_rules(rules, place)
        self._compiled[name] = compiled
        if len(self._compiled) > REMEMBERED_RULE_SETS:
            self._compiled.popitem(last=False)
        return compiled


def _sought(number: int, rule: SafetyRule) -> list[Sought]:
    words = [Sought(number, word(text), whole=True) for text in rule.words]
    return words + [Sought(number, parse(pattern)) for pattern in rule.patterns]


class Screen:
    """Passes one text through. After ``blocked`` nothing more comes out."""

    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self._matchers: dict[SafetyOutcome, Matcher] = {
            outcome: Matcher(it) for outcome, it in rules.automata.items()
        }
        self._held = ""
        self._released = 0
        self._redactions: list[Match] = []
        self._counts: Counter[int] = Counter()
        self.blocked: SafetyRule | None = None

    def feed(self, text: str) -> str:
        """Take in a piece of the text and return what may go on now."""
        if not self._matchers:
            return text
        out: list[str] = []
        place = 0
        while place < len(text) and self.blocked is None:
            harmless = self._harmless(text, place)
            if harmless > place:
                self._skip(text[place:harmless], out)
            else:
                self._step(text[place], out)
            place = max(harmless, place + 1)
        return "".join(out)

    def finish(self) -> str:
        """Say that the text has ended and return the rest of what may go on."""
        out: list[str] = []
        if self.blocked is None:
            for outcome, matcher in self._matchers.items():
                self._take(outcome, matcher.finish(), out)
        if self.blocked is None:
            self._release(self._released + len(self._held), out)
        return "".join(out)

    def findings(self) -> list[Finding]:
        """Say what was found so far, in the order of the rules."""
        rules, place = self._rules.rules, self._rules.place
        return [
            Finding(rule=rules[it].name, outcome=rules[it].outcome, place=place, count=count)
            for it, count in sorted(self._counts.items())
        ]

    def _harmless(self, text: str, place: int) -> int:
        """Return up to where nothing is under way and no match begins."""
        if self._held or not all(matcher.idle for matcher in self._matchers.values()):
            return place
        while place < len(text) and not self._rules.begins(text[place]):
            place += 1
        return place

    def _skip(self, text: str, out: list[str]) -> None:
        for matcher in self._matchers.values():
            matcher.skip(text)
        self._released += len(text)
        out.append(text)

    def _step(self, character: str, out: list[str]) -> None:
        self._held += character
        for outcome, matcher in self._matchers.items():
            self._take(outcome, matcher.step(character), out)
        if self.blocked is None:
            self._release(min(it.horizon for it in self._matchers.values()), out)

    def _take(self, outcome: SafetyOutcome, matches: list[Match], out: list[str]) -> None:
        for match in matches:
            if self.blocked is not None:
                return
            self._counts[match.rule] += 1
            if outcome == "redacted":
                self._redactions.append(match)
            if outcome == "blocked":
                self._release(match.start, out)
                self.blocked = self._rules.rules[match.rule]

    def _release(self, until: int, out: list[str]) -> None:
        """Let go what lies before ``until``, but not the beginning of what is to be replaced."""
        while self._redactions and self._redactions[0].start < until:
            match = self._redactions[0]
            if match.end > until:
                until = match.start
                break
            self._redactions.pop(0)
            out.append(self._cut(match.start))
            self._cut(match.end)
            out.append(self._rules.rules[match.rule].replacement)
        out.append(self._cut(until))

    def _cut(self, until: int) -> str:
        count = until - self._released
        piece, self._held = self._held[:count], self._held[count:]
        self._released = until
        return piece

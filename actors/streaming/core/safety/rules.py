"""The safety rules of a policy, compiled for the places where they hold, and kept."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from actors.streaming.core.safety.automaton import Automaton, Making, Sought
from schemas.bounded import Bounded
from schemas.patterns import Total, parse, word
from schemas.safety import SafetyOutcome, SafetyPlace, SafetyRule
from schemas.steps import Steps

REMEMBERED_RULE_SETS = 256
REMEMBERED_POSITIONS = 200_000
"""Of all rule sets that are kept together; each may come to need some bytes a position and
character."""

REMEMBERED_CHARACTERS = 4096

MAX_COMPILED = 2
"""The bounds of a definition, so many times: the operator's own rules go before an agent's."""


class RuleSet(NamedTuple):
    """The rules for one place, compiled: an automaton an outcome that there are rules for."""

    place: SafetyPlace
    rules: tuple[SafetyRule, ...]
    automata: dict[SafetyOutcome, Automaton]
    making: Making
    known: dict[str, bool]

    @property
    def size(self) -> int:
        """The positions of all patterns."""
        return sum(automaton.size for automaton in self.automata.values())

    def begins(self, character: str) -> bool:
        """Say whether a match of any rule may begin with a character, and remember it."""
        begins = any(automaton.begins(character) for automaton in self.automata.values())
        if len(self.known) >= REMEMBERED_CHARACTERS:
            self.known.clear()
        self.known[character] = begins
        return begins


def compile_rules(rules: Sequence[SafetyRule], place: SafetyPlace) -> Steps[RuleSet]:
    """Prepare the rules that hold for a place.

    Raises:
        PatternError: a pattern is not of the language, or all are too large together.
    """
    here = tuple(rule for rule in rules if place in rule.places)
    making, total = Making(), Total(MAX_COMPILED)
    automata: dict[SafetyOutcome, Automaton] = {}
    for rule in here:
        automata.setdefault(rule.outcome, Automaton(making))
    for number, rule in enumerate(here):
        for sought in _sought(number, rule):
            total.add(sought.positions)
            automata[rule.outcome].add(sought)
            yield
    for automaton in automata.values():
        automaton.close()
        yield
    return RuleSet(place, here, automata, making, {})


def demand_bounds(rules: Sequence[SafetyRule]) -> None:
    """Demand that rules are of the language and within the bounds of one definition.

    Raises:
        PatternError: they are not.
    """
    total = Total()
    for number, rule in enumerate(rules):
        for sought in _sought(number, rule):
            total.add(sought.positions)


class RuleLibrary:
    """Compiled rules, kept for the next attempt under the same ones."""

    def __init__(self) -> None:
        least = REMEMBERED_POSITIONS // REMEMBERED_RULE_SETS
        self._compiled: Bounded[bytes, RuleSet] = Bounded(
            REMEMBERED_POSITIONS, lambda rules: max(rules.size, least)
        )

    def of(self, rules: Sequence[SafetyRule], place: SafetyPlace) -> Steps[RuleSet]:
        """Return the rules that hold for a place. Raises as ``compile_rules`` does."""
        name = msgspec.json.encode((place, rules))
        compiled = self._compiled.get(name)
        if compiled is None:
            compiled = self._compiled.put(name, (yield from compile_rules(rules, place)))
        return compiled


def _sought(number: int, rule: SafetyRule) -> Iterator[Sought]:
    for text in rule.words:
        yield Sought(number, word(text), whole=True)
    for pattern in rule.patterns:
        yield Sought(number, parse(pattern))

"""One text under the rules of an agent: what of it may go on, and what was found.

A rule with outcome ``blocked`` ends the text before its match. ``redacted`` replaces the match.
``flagged`` only counts. The three are searched for apart, so that a harmless match never hides a
forbidden one. Nothing is held back but characters that could still be the beginning of a match.
"""

from collections import Counter

from actors.streaming.core.safety.effort import Effort
from actors.streaming.core.safety.matcher import Match, Matcher
from actors.streaming.core.safety.rules import RuleSet
from schemas.safety import Finding, SafetyOutcome, SafetyRule
from schemas.steps import Steps

_SKIPPED = 1024
"""Characters that are looked at between two looks at the effort."""

_SKIPPED_A_STEP = 4

_UNCOUNTED = 250
"""Steps that are counted together."""


class Screen:
    """Passes one text through. After ``blocked`` nothing more comes out.

    All screens of an attempt share its ``effort``.
    """

    def __init__(self, rules: RuleSet, effort: Effort | None = None) -> None:
        self._rules = rules
        self._effort = effort or Effort()
        self._matchers: dict[SafetyOutcome, Matcher] = {
            outcome: Matcher(it) for outcome, it in rules.automata.items()
        }
        self._held = ""
        self._released = 0
        self._grown = 0
        self._redactions: list[Match] = []
        self._counts: Counter[int] = Counter()
        self.blocked: SafetyRule | None = None

    def feed(self, text: str) -> Steps[str]:
        """Take in a piece of the text and return what may go on now.

        Raises:
            TooCostlyError: the attempt's texts cannot be searched with bounded effort.
        """
        if not self._matchers:
            return text
        out: list[str] = []
        place, length, steps = 0, len(text), 0
        making = self._rules.making
        made = making.steps
        while place < length and self.blocked is None:
            harmless = place if self._held else self._harmless(text, place)
            if harmless > place:
                self._skip(text[place:harmless], out)
                steps += 1 + (harmless - place) // _SKIPPED_A_STEP
                place = harmless
            else:
                steps += self._step(text[place], out)
                place += 1
            if steps > _UNCOUNTED or making.steps != made:
                steps, made = steps + making.steps - made, making.steps
                if self._effort.spend(steps):
                    yield
                steps = 0
        self._effort.spend(steps)
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
        if not all(matcher.idle for matcher in self._matchers.values()):
            return place
        known, end = self._rules.known, min(len(text), place + _SKIPPED)
        while place < end:
            begins = known.get(text[place])
            if begins is None:
                # To find out may be much work: the effort is looked at behind it.
                end, begins = place + 1, self._rules.begins(text[place])
            if begins:
                break
            place += 1
        return place

    def _skip(self, text: str, out: list[str]) -> None:
        for matcher in self._matchers.values():
            matcher.skip(text)
        self._released += len(text)
        out.append(text)

    def _step(self, character: str, out: list[str]) -> int:
        """Take in a character, and return how many steps that was."""
        self._held += character
        steps = 2
        for outcome, matcher in self._matchers.items():
            steps += len(matcher.searches)
            if decided := matcher.step(character):
                self._take(outcome, decided, out)
        if self.blocked is None:
            self._release(min(it.horizon for it in self._matchers.values()), out)
        # A text that grows by what is put into it is paid for as well.
        steps, self._grown = steps + self._grown, 0
        return steps

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
            replacement = self._rules.rules[match.rule].replacement
            self._grown += len(replacement)
            out.append(replacement)
        out.append(self._cut(until))

    def _cut(self, until: int) -> str:
        count = until - self._released
        piece, self._held = self._held[:count], self._held[count:]
        self._released = until
        return piece

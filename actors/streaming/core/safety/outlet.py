"""What goes out of an attempt: the deltas of one call after another, made into one answer.

Where an agent has safety rules, its text and its reasoning pass a screen each, and the arguments
of its tool calls are searched whole. Where an answer is gone on with after a cut, its parts are
joined. Without either, deltas pass as they are.
"""

from collections.abc import Iterable

import msgspec

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.safety.effort import Effort
from actors.streaming.core.safety.rules import RuleSet
from actors.streaming.core.safety.screen import Screen
from actors.streaming.core.writing.continuation import Beginning, Joint
from schemas.llm import Answer, ToolCall
from schemas.problems import Problem
from schemas.safety import Finding, SafetyRule
from schemas.steps import Steps, begun

_STEPS_A_CALL = 20


class Outlet:
    """Passes deltas on and knows what has gone out.

    ``begin`` says that another call starts; ``finish`` that one has answered to its end. Once
    ``blocked`` is set nothing more comes out. What has gone out is only kept where it is needed:
    for rules, or where a cut answer may be ``continued``. All calls share the ``effort`` of the
    search, and all that searches raises ``TooCostlyError`` beyond it.
    """

    def __init__(
        self,
        rules: RuleSet | None = None,
        *,
        continued: bool = False,
        effort: Effort | None = None,
    ) -> None:
        self._rules = rules if rules and rules.automata else None
        self._effort = effort or Effort()
        self._keeps = continued or self._rules is not None
        self.published = False
        """Whether a part of the answer has gone out."""

        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[ToolCall] = []
        self._past: list[Finding] = []
        self._joint: Joint | None = None
        self._screens: dict[type[Delta], Screen] = {}
        self.blocked: SafetyRule | None = None
        """The rule that has stopped the answer."""

    @property
    def beginning(self) -> Beginning:
        """What has gone out, as the beginning of an answer."""
        return Beginning("".join(self._text), bool(self._reasoning), bool(self._calls))

    def begin(self) -> None:
        """Another call starts. What the one before held back is forgotten with it."""
        self._past = self.findings()
        self._joint = Joint(self.beginning.text) if self._text else None
        self._screens = {}
        if self._rules is not None:
            self._screens = {
                kind: Screen(self._rules, self._effort) for kind in (TextDelta, ReasoningDelta)
            }

    def take(self, deltas: list[Delta]) -> list[Delta] | Steps[list[Delta]]:
        """Pass on what one read of the call brought: at once, or if it is much in steps."""
        if not self._keeps:
            self.published = self.published or bool(deltas)
            return deltas
        steps = self._taking(deltas)
        done = begun(steps)
        return steps if done is None else done.result

    def _taking(self, deltas: list[Delta]) -> Steps[list[Delta]]:
        out: list[Delta] = []
        for delta in deltas:
            if self.blocked is not None:
                break
            if isinstance(delta, ToolCall):
                yield from self._call(delta, out)
                continue
            kind, text = type(delta), delta.text
            if self._joint is not None and kind is TextDelta:
                text = self._joint.feed(text)
            screen = self._screens.get(kind)
            if screen is not None:
                text = yield from screen.feed(text)
                self.blocked = screen.blocked
            self._grow(kind, text, out)
        self.published = self.published or bool(out)
        return out

    def finish(self) -> list[Delta]:
        """Pass on what was held back."""
        out: list[Delta] = []
        for kind, screen in self._screens.items():
            if self.blocked is None:
                self._grow(kind, screen.finish(), out)
                self.blocked = screen.blocked
        self.published = self.published or bool(out)
        return out

    def answer(self, answer: Answer) -> Answer:
        """Return the answer of the last call as it has gone out."""
        if self._rules is None and self._joint is None:
            return answer
        return msgspec.structs.replace(
            answer,
            text="".join(self._text),
            reasoning="".join(self._reasoning),
            tool_calls=self._calls,
        )

    def findings(self) -> list[Finding]:
        """Say what the rules have found in all calls so far."""
        found = [one for screen in self._screens.values() for one in screen.findings()]
        return merged([*self._past, *found])

    def _grow(self, kind: type[Delta], text: str, out: list[Delta]) -> None:
        if not text:
            return
        if kind is TextDelta:
            self._text.append(text)
            out.append(TextDelta(text))
        else:
            self._reasoning.append(text)
            out.append(ReasoningDelta(text))

    def _call(self, call: ToolCall, out: list[Delta]) -> Steps[None]:
        if self._rules is not None:
            out += self.finish()
            if self._effort.spend(_STEPS_A_CALL):
                yield
            screen = Screen(self._rules, self._effort)
            fed = yield from screen.feed(call.arguments)
            arguments = fed + screen.finish()
            self._past = merged([*self._past, *screen.findings()])
            self.blocked = self.blocked or screen.blocked
            call = msgspec.structs.replace(call, arguments=arguments)
        if self.blocked is None:
            self._calls.append(call)
            out.append(call)


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Add up the findings of each rule and place."""
    found: dict[tuple[str, str], Finding] = {}
    for one in findings:
        known = found.get((one.rule, one.place))
        count = one.count + (known.count if known else 0)
        found[one.rule, one.place] = msgspec.structs.replace(one, count=count)
    return list(found.values())


def unsearched(reason: str) -> Problem:
    """Say that a text was stopped because it could not be searched, and why."""
    return Problem(
        code="blocked",
        message=f"The safety rules could not be applied: {reason}.",
        field="policy.safety.rules",
    )


def blocked_by(rule: str, place: str) -> Problem:
    """Say that a text was stopped; without a word of it."""
    return Problem(
        code="blocked",
        message=f"The {place} was blocked by the safety rule {rule}.",
        details={"rule": rule, "place": place},
    )

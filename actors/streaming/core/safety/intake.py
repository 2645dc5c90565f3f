"""The screen before the provider: what users and tools say is searched before it is sent."""

from typing import NamedTuple

import msgspec

from actors.streaming.core.safety.effort import Effort
from actors.streaming.core.safety.rules import RuleSet
from actors.streaming.core.safety.screen import Screen
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, TextPart
from schemas.policy import Policy
from schemas.safety import Finding, Safety, SafetyRule
from schemas.steps import Steps

_STEPS_A_MESSAGE = 10

_SEARCHED = frozenset({"user", "tool"})
"""The system prompt is its author's, and the assistant's words were searched when they came out."""


def under(policy: Policy, fleet: Safety | None) -> Policy:
    """Return a policy with the fleet's rules before its own, and the fleet's moderation if any."""
    if fleet is None:
        return policy
    own = policy.safety or Safety()
    moderation = fleet.moderation or own.moderation
    safety = Safety(rules=[*fleet.rules, *own.rules], moderation=moderation)
    return msgspec.structs.replace(policy, safety=safety)


class TakenText(NamedTuple):
    """The request as it may be sent, unless it was blocked."""

    request: GenerateRequest
    findings: list[Finding]
    blocked: SafetyRule | None


def take_in(request: GenerateRequest, rules: RuleSet, effort: Effort) -> Steps[TakenText]:
    """Search the texts of a request.

    Raises:
        TooCostlyError: they cannot be searched with bounded effort.
    """
    if not rules.automata:
        return TakenText(request, [], None)
    searched = _Search(rules, effort)
    messages: list[ChatMessage] = []
    for message in request.messages:
        passed = yield from searched.message(message)
        messages.append(passed)
    return TakenText(
        msgspec.structs.replace(request, messages=messages), searched.findings, searched.blocked
    )


class _Search:
    def __init__(self, rules: RuleSet, effort: Effort) -> None:
        self._rules = rules
        self._effort = effort
        self.findings: list[Finding] = []
        self.blocked: SafetyRule | None = None

    def message(self, message: ChatMessage) -> Steps[ChatMessage]:
        if message.role not in _SEARCHED:
            return message
        content: str | list[ContentPart] = []
        if isinstance(message.content, str):
            content = yield from self._text(message.content)
        else:
            for part in message.content:
                passed = yield from self._part(part)
                content.append(passed)
        return msgspec.structs.replace(message, content=content)

    def _part(self, part: ContentPart) -> Steps[ContentPart]:
        if not isinstance(part, TextPart):
            return part
        text = yield from self._text(part.text)
        return TextPart(text=text)

    def _text(self, text: str) -> Steps[str]:
        if self._effort.spend(_STEPS_A_MESSAGE):
            yield
        screen = Screen(self._rules, self._effort)
        fed = yield from screen.feed(text)
        passed = fed + screen.finish()
        self.findings += screen.findings()
        self.blocked = self.blocked or screen.blocked
        return passed

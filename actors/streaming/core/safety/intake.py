"""The screen before the provider: what users and tools say is searched before it is sent."""

from typing import NamedTuple

import msgspec

from actors.streaming.core.safety.screen import RuleSet, Screen
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, TextPart
from schemas.policy import Policy
from schemas.safety import Finding, Safety, SafetyRule

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


class Taken(NamedTuple):
    """The request as it may be sent, unless it was blocked."""

    request: GenerateRequest
    findings: list[Finding]
    blocked: SafetyRule | None


def take_in(request: GenerateRequest, rules: RuleSet) -> Taken:
    """Search the texts of a request."""
    if not rules.automata:
        return Taken(request, [], None)
    searched = _Search(rules)
    messages = [searched.message(message) for message in request.messages]
    return Taken(
        msgspec.structs.replace(request, messages=messages), searched.findings, searched.blocked
    )


class _Search:
    def __init__(self, rules: RuleSet) -> None:
        self._rules = rules
        self.findings: list[Finding] = []
        self.blocked: SafetyRule | None = None

    def message(self, message: ChatMessage) -> ChatMessage:
        if message.role not in _SEARCHED:
            return message
        if isinstance(message.content, str):
            content: str | list[ContentPart] = self._text(message.content)
        else:
            content = [self._part(part) for part in message.content]
        return msgspec.structs.replace(message, content=content)

    def _part(self, part: ContentPart) -> ContentPart:
        return TextPart(text=self._text(part.text)) if isinstance(part, TextPart) else part

    def _text(self, text: str) -> str:
        screen = Screen(self._rules)
        passed = screen.feed(text) + screen.finish()
        self.findings += screen.findings()
        self.blocked = self.blocked or screen.blocked
        return passed

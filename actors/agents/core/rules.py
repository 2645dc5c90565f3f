"""Choosing model and temperature by the task: the rules of a definition, applied and explained."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.agents.core.complexity import Measure
from schemas.llm import GenerateRequest
from schemas.policy import Choice, Rule, When


class ChosenRules(NamedTuple):
    """The request as the rules have it, and what each decision was."""

    request: GenerateRequest
    choices: tuple[Choice, ...]


def choose(request: GenerateRequest, rules: Sequence[Rule], measured: Measure) -> ChosenRules:
    """Apply the rules that hold.

    The first that names a model or provider decides the model, the first that names a temperature
    decides that.
    """
    choices: list[Choice] = []
    held = [(rule, reason) for rule in rules if (reason := holds(rule.when, measured)) is not None]
    for rule, reason in held:
        if rule.provider is not None or rule.model is not None:
            request = msgspec.structs.replace(request, provider=_provider(request, rule))
            choices.append(_choice(rule, "model", request.provider.model, reason))
            break
    for rule, reason in held:
        if rule.temperature is not None:
            config = msgspec.structs.replace(request.config, temperature=rule.temperature)
            request = msgspec.structs.replace(request, config=config)
            choices.append(_choice(rule, "temperature", f"{rule.temperature:g}", reason))
            break
    return ChosenRules(request, tuple(choices))


def holds(when: When, measured: Measure) -> str | None:
    """Return why a rule's conditions are met, None if one of them is not."""
    reasons: list[str] = []
    for met, reason in _conditions(when, measured):
        if not met:
            return None
        reasons.append(reason)
    return "; ".join(reasons) or "always"


def _conditions(when: When, measured: Measure) -> Iterator[tuple[bool, str]]:
    complexity = f"complexity {measured.complexity} ({measured.reasons()})"
    tokens, turns = f"{measured.tokens} tokens", f"{measured.turns} earlier turns"
    yield from _least(complexity, measured.complexity, when.complexity_at_least)
    yield from _most(complexity, measured.complexity, when.complexity_at_most)
    yield from _least(tokens, measured.tokens, when.tokens_at_least)
    yield from _most(tokens, measured.tokens, when.tokens_at_most)
    yield from _least(turns, measured.turns, when.turns_at_least)
    if when.words:
        found = [word for word in when.words if word.lower() in measured.words]
        yield bool(found), f"the task has the word {found[0] if found else ''}"
    if when.tools is not None:
        yield (measured.tools > 0) is when.tools, f"{measured.tools} tools"


def _least(shown: str, value: int, least: int | None) -> Iterator[tuple[bool, str]]:
    if least is not None:
        yield value >= least, f"{shown}, at least {least}"


def _most(shown: str, value: int, most: int | None) -> Iterator[tuple[bool, str]]:
    if most is not None:
        yield value <= most, f"{shown}, at most {most}"


def _provider(request: GenerateRequest, rule: Rule) -> Any:
    provider: Any = rule.provider or request.provider
    return msgspec.structs.replace(provider, model=rule.model) if rule.model else provider


def _choice(rule: Rule, field: Any, value: str, reason: str) -> Choice:
    return Choice(rule=rule.name, field=field, value=value, reason=reason)

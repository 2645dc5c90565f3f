"""What the policy of a definition must hold: every provider it may come to, its rules, its safety.

Each alternative is held to what the definition's own provider is held to, as if it were that.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from schemas.agents import AgentDefinition
from schemas.patterns import PatternError, Total, parse, word
from schemas.policy import Policy, Rule
from schemas.problems import Problem
from schemas.safety import Safety, SafetyRule

Check = Callable[[AgentDefinition], Problem | None]

MAX_PATTERN_CHARACTERS = 20_000
"""Words and patterns of all safety rules together: they are searched for in one pass."""


def check_policy(definition: AgentDefinition, of_provider: Sequence[Check]) -> Problem | None:
    """Return the first reason why a policy cannot be stored, None if it can.

    ``of_provider`` are the checks that a definition's own provider and settings have to pass.
    """
    for path, variant in _variants(definition):
        for check in of_provider:
            found = check(variant)
            if found is not None:
                return msgspec.structs.replace(found, field=f"{path}.{found.field}")
    return next(_faults(definition.policy), None)


def _variants(definition: AgentDefinition) -> Iterator[tuple[str, AgentDefinition]]:
    for place, other in enumerate(definition.policy.fallbacks):
        config = other.config or definition.config
        yield f"policy.fallbacks.{place}", _as(definition, other.provider, config)
    for place, rule in enumerate(definition.policy.rules):
        yield f"policy.rules.{place}", _ruled(definition, rule)


def _ruled(definition: AgentDefinition, rule: Rule) -> AgentDefinition:
    provider: Any = rule.provider or definition.provider
    if rule.model is not None:
        provider = msgspec.structs.replace(provider, model=rule.model)
    config = definition.config
    if rule.temperature is not None:
        config = msgspec.structs.replace(config, temperature=rule.temperature)
    return _as(definition, provider, config)


def _as(definition: AgentDefinition, provider: Any, config: Any) -> AgentDefinition:
    return msgspec.structs.replace(definition, provider=provider, config=config)


def _faults(policy: Policy) -> Iterator[Problem]:
    for place, rule in enumerate(policy.rules):
        if rule.model is None and rule.provider is None and rule.temperature is None:
            yield _problem(f"policy.rules.{place}", "chooses neither a model nor a temperature")
    if policy.safety is not None:
        yield from _safety_faults(policy.safety)


def _safety_faults(safety: Safety) -> Iterator[Problem]:
    size = sum(len(text) for rule in safety.rules for text in (*rule.words, *rule.patterns))
    if size > MAX_PATTERN_CHARACTERS:
        # Before anything is parsed: what follows takes time by the number of characters.
        message = f"hold more than {MAX_PATTERN_CHARACTERS:,} characters in words and patterns"
        yield _problem("policy.safety.rules", message)
    total = Total()
    for place, rule in enumerate(safety.rules):
        path = f"policy.safety.rules.{place}"
        if not (rule.words or rule.patterns):
            yield _problem(path, "looks for nothing: give it words or patterns")
        yield from _pattern_faults(path, rule, total)


def _pattern_faults(path: str, rule: SafetyRule, total: Total) -> Iterator[Problem]:
    for kind, read, texts in (("words", word, rule.words), ("patterns", parse, rule.patterns)):
        for number, text in enumerate(texts):
            try:
                total.add(read(text))
            except PatternError as error:
                yield _problem(f"{path}.{kind}.{number}", str(error))


def _problem(field: str, message: str) -> Problem:
    return Problem(code="validation", message=message, field=field)

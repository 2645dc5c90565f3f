"""Why a transition is not enabled: what each token in question lacks, rule by rule."""

from typing import Any

import msgspec

from actors.workflow.core.compiling import CompiledNet, CompiledTransition
from actors.workflow.core.enabling import (
    NO_GROUP,
    arrivals,
    group_of,
    has_room,
    may_pay,
)
from actors.workflow.core.rules import Verdict
from actors.workflow.core.scratch import Lying, Scratch
from schemas.base import Value
from schemas.problems import Problem

MOST_TOKENS = 16
"""So many tokens are told of."""


class TokenVerdict(Value, omit_defaults=True):
    """Whether a transition may take a token, and why not."""

    token: str
    place: str
    passed: bool
    reason: str = ""
    verdicts: list[Verdict] = []


class TransitionVerdict(Value, omit_defaults=True):
    """Why a transition is not enabled."""

    transition: str
    reason: str
    tokens: list[TokenVerdict] = []


def why_not(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, only: str | None = None
) -> TransitionVerdict:
    """Tell why a transition does not fire, or not with the token ``only``."""
    tokens = [
        _of_token(scratch, transition, token)
        for token in scratch.tokens.values()
        if token.place in transition.sources and only in (None, token.id)
    ]
    reason = _reason(net, scratch, transition, tokens, only)
    return TransitionVerdict(transition=transition.id, reason=reason, tokens=tokens[:MOST_TOKENS])


def not_enabled(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, only: str | None
) -> Problem:
    """Return the refusal of a command to fire what is not enabled."""
    why = why_not(net, scratch, transition, only)
    details: dict[str, Any] = msgspec.to_builtins(why)
    message = f"{transition.id} is not enabled: {why.reason}"
    return Problem(code="conflict", message=message, details=details)


def _of_token(scratch: Scratch, transition: CompiledTransition, token: Lying) -> TokenVerdict:
    told = transition.verdicts(token)
    reason = ""
    if token.id in scratch.busy:
        reason = "an agent of its place runs for it"
    elif transition.most is not None and token.counters.get(transition.id, 0) >= transition.most:
        reason = f"it has taken this transition {transition.most} times"
    elif not all(each.passed for each in told):
        reason = "a rule or condition does not hold"
    return TokenVerdict(
        token=token.id, place=token.place, passed=not reason, reason=reason, verdicts=told
    )


def _reason(
    net: CompiledNet,
    scratch: Scratch,
    transition: CompiledTransition,
    tokens: list[TokenVerdict],
    only: str | None,
) -> str:
    if not tokens:
        where = ", ".join(transition.sources)
        return f"no token lies in {where}" if only is None else f"{only} does not lie in {where}"
    passing = [each for each in tokens if each.passed]
    if not passing:
        return tokens[0].reason
    if not may_pay(net, scratch, transition):
        return "the money that is left is for the final transitions"
    if transition.definition.join is not None:
        return _of_join(scratch, transition)
    if transition.definition.mode == "all":
        lying = {each.place for each in passing}
        lacking = [place for place in transition.sources if place not in lying]
        if lacking:
            return f"no token that it could take lies in {', '.join(lacking)}"
        if not has_room(net, scratch, transition, ()):
            return "there is no room for what it puts"
        return "the tokens in its places do not belong together"
    return "there is no room for what it puts"


def _of_join(scratch: Scratch, transition: CompiledTransition) -> str:
    join = transition.definition.join
    told: list[str] = []
    for group, here in arrivals(scratch, transition).items():
        size = here[0].group[-1].size if group_of(here[0]) != NO_GROUP else None
        need = (join.need if join else None) or size
        name = "the tokens of no group" if group == NO_GROUP else f"group {group}"
        told.append(
            f"of {name} {len(here)} have come, {need or 'a number that is not given'} needed"
        )
    return "; ".join(told[:MOST_TOKENS]) or "no token that it could take has come"

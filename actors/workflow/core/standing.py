"""Where an instance stands: whether it goes on, waits, has come to its end, or cannot go on."""

from datetime import datetime
from typing import Any, Literal

import msgspec

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.enabling import binding
from actors.workflow.core.explaining import why_not
from actors.workflow.core.scratch import Scratch
from actors.workflow.core.timing import due
from actors.workflow.core.tokens import Marking
from schemas.nets import EventTrigger
from schemas.problems import Problem

Standing = Literal["running", "waiting", "completed", "failed", "deadlock"]

MOST_REASONS = 32


def standing(net: CompiledNet, marking: Marking) -> Standing:
    """Return where a net stands after all has happened that happens by itself.

    It is completed when all tokens lie in terminal or error places and nothing runs. It waits for a
    moment, a person, or what comes from outside; where none of these can change anything it is
    deadlocked.
    """
    if marking.problem is not None:
        return "failed"
    running = [firing for firing in marking.firings.values() if not firing.is_paused]
    if marking.more or marking.failing is not None or running:
        return "running"
    if marking.firings:
        return "waiting"
    lying = {token.place for token in marking.tokens.values()}
    left = {place for place in lying if not net.is_end(place)}
    if not left and due(net, marking) is None:
        return "completed"
    return "waiting" if _may_go_on(net, marking, left) else "deadlock"


def _may_go_on(net: CompiledNet, marking: Marking, left: set[str]) -> bool:
    if any(net.places[place].definition.type in {"waiting", "review"} for place in left):
        return True
    triggers = net.definition.triggers
    if any(isinstance(each, EventTrigger) and each.does != "start" for each in triggers):
        return True
    if due(net, marking) is not None:
        return True
    scratch = _open(marking)
    return any(binding(net, scratch, each) is not None for each in net.ranked)


def deadlock(net: CompiledNet, marking: Marking) -> Problem:
    """Return the problem of a net that cannot go on, with the reason of each transition."""
    scratch = _open(marking)
    stuck = sorted({each.place for each in marking.tokens.values() if not net.is_end(each.place)})
    touching = [each for each in net.ranked if not set(stuck).isdisjoint(each.sources)]
    reasons: list[Any] = [
        msgspec.to_builtins(why_not(net, scratch, each)) for each in touching[:MOST_REASONS]
    ]
    return Problem(
        code="conflict",
        message=f"no transition is enabled for the tokens in {', '.join(stuck)}",
        details={"transitions": reasons},
    )


def _open(marking: Marking) -> Scratch:
    return Scratch(marking, datetime.min)  # noqa: DTZ901  no time is asked here

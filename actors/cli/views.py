"""Replies that people are shown otherwise than field by field. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

from schemas.base import Value
from schemas.streams import WorkflowMove
from schemas.workflow_runs import WorkflowHistory, WorkflowTurn

SILENT = frozenset({"run_began", "attempted", "work_started", "work_done", "begun_over"})
SILENT_WAITS = frozenset({"wait_begun", "wait_pending", "wait_looked", "wait_over"})
"""Steps that only the engine's own books are about."""


class TurnView(Value):
    """A turn of an instance, in a row."""

    turn: int
    at: datetime
    cause: str
    happened: str
    status: str
    cost: int | None


class HistoryView(Value):
    """The turns of an instance, one a row; ``next`` is where to go on."""

    instance_id: str
    turns: list[TurnView]
    next: int | None


def for_people(reply: Any) -> Any:
    """Return what is shown of a reply."""
    if isinstance(reply, WorkflowHistory) and reply.tokens is None:
        turns = [_turn(each) for each in reply.turns]
        return HistoryView(instance_id=reply.instance_id, turns=turns, next=reply.next)
    return reply


def _turn(turn: WorkflowTurn) -> TurnView:
    cause = cast("Mapping[str, Any]", turn.cause if isinstance(turn.cause, Mapping) else {})
    return TurnView(
        turn=turn.turn,
        at=turn.at,
        cause=str(cause.get("type", "")),
        happened="; ".join(_steps(turn.steps)),
        status=turn.glance.status,
        cost=turn.glance.cost,
    )


def _steps(steps: list[Any]) -> Iterator[str]:
    for step in steps:
        if not isinstance(step, Mapping):
            continue
        known = cast("Mapping[str, Any]", step)
        kind = str(known.get("type", ""))
        if kind == "net_stepped":
            yield from _steps(known.get("steps", []))
        elif kind not in SILENT | SILENT_WAITS:
            yield f"{kind.replace('_', ' ')}{_where(known)}"


def _where(step: Mapping[str, Any]) -> str:
    """Say at which transition a step is, and into which places it has put tokens."""
    puts = cast("list[Mapping[str, Any]]", step.get("puts") or [])
    places = [str(each["place"]) for each in puts if each.get("place")]
    at = step.get("transition") or step.get("name")
    into = step.get("place") or ", ".join(dict.fromkeys(places))
    return f"{f' {at}' if at else ''}{f' → {into}' if into else ''}"


def move_note(move: WorkflowMove) -> str:
    """Return a line about what has happened in an instance, for who follows its stream."""
    words = [move.what.replace("_", " "), move.transition or ""]
    words += [f"→ {move.place}" if move.place else "", f"({move.began})" if move.began else ""]
    words += [f"“{move.title}”" if move.title else "", move.event or ""]
    if move.problem is not None:
        words.append(f"{move.problem.code}: {move.problem.message}")
    return " ".join(word for word in words if word)

"""What people are shown of the turns of a workflow."""

from datetime import UTC, datetime

from actors.cli.views import HistoryView, for_people, move_note
from schemas.problems import Problem
from schemas.streams import WorkflowMove
from schemas.workflow_runs import RunGlance, RunToken, WorkflowHistory, WorkflowTurn

AT = datetime(2026, 12, 1, tzinfo=UTC)

STEPS = [
    {"type": "work_done", "work": "2.1"},
    {
        "type": "net_stepped",
        "steps": [
            {"type": "action_ended", "puts": [{"id": "1", "place": "decided"}], "firing": "2"},
            {"type": "moved", "transition": "approve", "token": "1", "place": "approved"},
        ],
    },
    {"type": "closed", "status": "COMPLETED"},
]


def history(tokens: list[RunToken] | None = None) -> WorkflowHistory:
    glance = RunGlance(status="COMPLETED", turn=7, version=1, cost=5)
    cause = {"type": "ended"}
    turn = WorkflowTurn(instance_id="i", turn=7, at=AT, cause=cause, steps=STEPS, glance=glance)
    return WorkflowHistory(instance_id="i", turns=[turn], tokens=tokens)


def test_a_turn_is_a_row_that_says_what_has_happened():
    shown = for_people(history())

    assert isinstance(shown, HistoryView)
    (turn,) = shown.turns
    assert turn.happened == "action ended → decided; moved approve → approved; closed"
    assert (turn.cause, turn.status, turn.cost) == ("ended", "COMPLETED", 5)


def test_a_marking_that_was_asked_for_is_shown_as_it_is():
    whole = history([])

    assert for_people(whole) is whole
    assert for_people(AT) is AT


def test_a_move_is_a_line():
    moved = WorkflowMove(what="moved", transition="submit", place="review", tokens=["1"])
    asked = WorkflowMove(what="asked", transition="approve", title="May it go out?")
    broken = Problem(code="timeout", message="too late")
    failed = WorkflowMove(what="failed", firing="2", problem=broken)

    assert [move_note(each) for each in (moved, asked, failed)] == [
        "moved submit → review",
        "asked approve “May it go out?”",
        "failed timeout: too late",
    ]

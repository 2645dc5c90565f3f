"""Instances of workflows: what their owner decides, by hand and over random commands."""

from typing import Any

import msgspec
import pytest

from actors.workflow.core.messages import (
    AnswerPerson,
    CancelRun,
    CancelTold,
    Decided,
    Fire,
    LookRun,
    Migrate,
    Put,
    Signal,
    Suspend,
    Update,
)
from actors.workflow.core.travel import replayed, state_after
from schemas.beginnings import HasBegun
from schemas.callbacks import CallbackAnswered, EndOutcome, Inquire, Noted, Pending
from schemas.http_actions import HttpDone
from schemas.problems import Problem
from schemas.steps import at_once
from schemas.streams import Completed, WorkflowTurned
from schemas.usage import Usage
from schemas.work import Claim, Lost, ReplyTo, WorkFailure
from schemas.workflow_events import WorkflowCompletedEvent, WorkflowPausedEvent
from tests.unit.workflow.instances import Owner, beginning, done, end_of, net_of, origin

Fields = dict[str, Any]


def places(*names: str, **kinds: Fields) -> list[Fields]:
    """Return places: the first is the initial one, the last a terminal one."""
    found: list[Fields] = [{"id": name, **kinds.get(name, {})} for name in names]
    found[0]["type"], found[-1]["type"] = "initial", "terminal"
    return found


def one_action(action: Fields, **more: Any) -> Owner:
    """Return an instance whose one transition has begun this action."""
    transition = {"id": "t", "from_places": ["a"], "to_place": "z", "action": action}
    net: Fields = {"places": [*places("a", "z"), {"id": "e", "type": "error"}]}
    transition |= more.pop("transition", {})
    return started(net | {"transitions": [transition]} | more)


def started(net: Fields, **fields: Any) -> Owner:
    owner = Owner()
    reply = owner.take(beginning(net_of(**net), **fields))
    assert not isinstance(reply, Problem), reply
    return owner


AGENT: Fields = {"type": "agent", "agent_id": "writer", "task": "write"}


def test_an_agent_is_begun_by_an_item_and_its_end_moves_the_token() -> None:
    mapping = {"data.text": "text", "data.who": "agent_id", "data.cost": "cost"}
    owner = one_action(AGENT | {"output_mapping": mapping})
    (item,) = owner.items()
    assert (item.queue, item.body.name, item.body.id) == ("begin", "agents.execute", "i-2-1")
    assert owner.instance.status == "RUNNING"
    owner.take(done(item, HasBegun))
    assert not owner.items()
    usage = Usage(input=3, output=4)
    assert owner.take(end_of(item, cost=7, usage=usage)) == Noted(fresh=True)
    assert owner.take(end_of(item, cost=7, usage=usage)) == Noted(fresh=False)
    state = owner.instance
    assert (state.status, owner.places, state.cost, state.usage) == ("COMPLETED", ["z"], 7, usage)
    run = owner.take(LookRun())
    assert run.data == {"text": "ok", "who": "writer", "cost": 7}
    assert [type(body) for body in owner.said].count(WorkflowCompletedEvent) == 1
    assert any(isinstance(body, Completed) for body in owner.said)
    told = [body for body in owner.said if isinstance(body, WorkflowTurned)]
    assert [move.what for turn in told for move in turn.moves] == ["put", "begun", "ended"]
    assert told[0].moves[1].began == "i-2-1"


def test_an_end_that_comes_before_the_report_of_the_item_counts_once() -> None:
    owner = one_action(AGENT)
    (item,) = owner.items()
    owner.take(end_of(item))
    assert owner.instance.status == "COMPLETED"
    assert not owner.open
    owner.take(done(item, HasBegun))
    assert not owner.open


def test_a_begin_that_is_refused_fails_the_action_and_a_class_of_errors_is_retried() -> None:
    retry = {"max_attempts": 2, "backoff_seconds": 5, "retry_on_errors": ["rate_limit"]}
    owner = one_action(AGENT | {"retry_config": retry})
    (item,) = owner.items()
    limited = Problem(code="rate_limited", message="slow down")
    owner.take(WorkFailure(work=item.work, attempt=item.attempt, problem=limited))
    assert not owner.items()
    owner.tick()
    (again,) = owner.items()
    assert (again.body.id, (owner.now - item.since).total_seconds()) == ("i-2-2", 5)
    owner.take(WorkFailure(work=again.work, attempt=again.attempt, problem=limited))
    assert owner.instance.status == "FAILED"
    assert owner.instance.problem == limited


def test_an_action_that_takes_too_long_is_cancelled_and_once_more_if_it_was_not_there() -> None:
    owner = one_action(AGENT | {"timeout_seconds": 9, "required": False})
    (item,) = owner.items()
    owner.tick()
    assert owner.instance.status == "COMPLETED"
    (ask,) = owner.asks()
    assert (ask.entity, ask.key) == ("execution", item.body.id)
    of = ReplyTo(entity="execution", tenant="acme", key=item.body.id)
    owner.take(CancelTold(of=of, missing=True))
    assert not owner.asks()
    owner.tick()
    (again,) = owner.asks()
    assert again.id != ask.id
    owner.take(CancelTold(of=of, missing=True))
    assert not owner.open


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_a_request_of_unknown_outcome_waits_for_a_person_only_if_it_may_not_be_repeated(
    method: str,
) -> None:
    owner = one_action({"type": "http", "url": "https://example.org/x", "method": method})
    (item,) = owner.items()
    assert item.once is (method == "POST")
    owner.take(Claim(work=item.work, attempt=item.attempt))
    owner.take(Lost(work=item.work, attempt=item.attempt, begun=True))
    if method == "GET":
        (again,) = owner.items()
        value = msgspec.Raw(b'{"status": 200, "body": {"n": 1}}')
        owner.take(done(again, HttpDone, outcome=EndOutcome(value=value)))
        assert owner.instance.status == "COMPLETED"
        return
    (firing,) = owner.take(LookRun()).firings
    assert (firing.phase, firing.problem.code) == ("paused", "outcome_unknown")
    assert any(isinstance(body, WorkflowPausedEvent) for body in owner.said)
    owner.take(Decided(firing=firing.id, skip=True))
    assert owner.instance.status == "COMPLETED"


def test_a_paused_action_is_retried_when_somebody_says_so() -> None:
    owner = one_action(AGENT, transition={"on_error": {"then": "pause"}})
    (item,) = owner.items()
    owner.take(end_of(item, "FAILED"))
    assert owner.instance.status == "WAITING"
    (firing,) = owner.take(LookRun()).firings
    assert owner.take(Decided(firing="9")).code == "conflict"
    owner.take(Decided(firing=firing.id))
    (again,) = owner.items()
    assert again.body.id == "i-2-2"
    owner.take(end_of(again))
    assert owner.instance.status == "COMPLETED"


def test_a_person_answers_with_a_choice_and_a_form() -> None:
    form = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    action = {"type": "human", "title": "Look", "choices": ["yes", "no"], "form": form}
    owner = one_action(action | {"output_mapping": {"data.said": "choice", "data.n": "n"}})
    assert owner.instance.status == "WAITING"
    (asked,) = [body for body in owner.said if isinstance(body, WorkflowPausedEvent)]
    assert (asked.title, asked.firing) == ("Look", "2")
    refused = owner.take(AnswerPerson(firing="2", choice="maybe", values={"n": 1}))
    assert (refused.code, refused.field) == ("validation", "choice")
    refused = owner.take(AnswerPerson(firing="2", choice="yes", values={"n": "x"}))
    assert (refused.code, refused.field) == ("validation", "values.n")
    assert owner.take(AnswerPerson(firing="3", choice="yes")).field == "firing"
    owner.take(AnswerPerson(firing="2", choice="yes", values={"n": 1}, by="acme/ada"))
    assert owner.take(LookRun()).data == {"said": "yes", "n": 1}


def test_a_task_that_nobody_does_goes_to_the_next_person() -> None:
    action = {"type": "human", "title": "Look", "assignee": "ada", "timeout_seconds": 60}
    owner = one_action(action | {"escalate_to": ["bob"]})
    assert owner.take(LookRun()).firings[0].assignee == "ada"
    owner.tick()
    assert owner.take(LookRun()).firings[0].assignee == "bob"
    owner.tick()
    assert owner.instance.status == "FAILED"


def test_an_event_ends_what_waits_for_it_and_nothing_else() -> None:
    action = {"type": "event", "subject": "crm.*", "condition": "event.data.n > 1"}
    owner = one_action(action | {"output_mapping": {"data.n": "n"}})
    turns = len(owner.turns)
    for subject, n in (("crm.x", 1), ("other.x", 2), ("crm.x.y", 2)):
        owner.take(Signal(subject=subject, event={"data": {"n": n}}))
    assert len(owner.turns) == turns
    owner.take(Signal(subject="crm.x", event={"data": {"n": 2}}))
    assert owner.take(LookRun()).data == {"n": 2}


def test_what_is_not_enabled_is_refused_with_the_verdict_of_each_guard() -> None:
    transition: Fields = {
        "id": "t",
        "from_places": ["b"],
        "to_place": "z",
        "manual": True,
        "rules": [{"type": "field_equals", "field": "ok", "value": True}],
    }
    moves = {"id": "m", "from_places": ["a"], "to_place": "b"}
    all_places = places("a", "b", "z", b={"type": "waiting"})
    owner = started({"places": all_places, "transitions": [moves, transition]}, data={"n": 1})
    refused = owner.take(Fire(transition="t"))
    assert refused.code == "conflict"
    assert "ok" in msgspec.json.encode(refused.details).decode()


WAITS: Fields = {
    "places": places("a", "z", a={"type": "initial"}),
    "transitions": [{"id": "t", "from_places": ["a"], "to_place": "z", "manual": True}],
}


def test_a_repeat_of_a_command_changes_nothing_and_a_stale_one_is_refused() -> None:
    owner = started(WAITS)
    put = Put(id="x", place="a", data={"n": 1})
    owner.take(put)
    owner.take(put)
    assert owner.places == ["a", "a"]
    refused = owner.take(Fire(transition="t", expected=1))
    assert (refused.code, refused.field) == ("conflict", "expected_version")
    owner.take(Fire(transition="t", expected=2))
    assert owner.places == ["a", "z"]


def test_a_token_is_patched() -> None:
    owner = started(WAITS, data={"keep": 1, "drop": 2})
    owner.take(Update(token="1", data={"drop": None, "new": 3}, metadata={"m": 1}))
    (token,) = owner.take(LookRun()).tokens
    assert (token.data, token.metadata) == ({"keep": 1, "new": 3}, {"m": 1})
    assert owner.take(Update(token="7")).field == "token"


def test_a_suspended_instance_notes_ends_and_goes_on_when_it_is_resumed() -> None:
    owner = one_action(AGENT)
    (item,) = owner.items()
    owner.take(Suspend())
    owner.take(end_of(item))
    assert (owner.instance.status, owner.places) == ("WAITING", ["z"])
    owner.take(Suspend(over=True))
    assert owner.instance.status == "COMPLETED"


def test_a_cancelled_instance_cancels_what_it_has_begun_unless_it_is_to_be_left() -> None:
    for leave in ("cancel", "leave"):
        owner = one_action({"type": "workflow", "workflow_id": "child", "on_close": leave})
        (item,) = owner.items()
        owner.take(done(item, HasBegun))
        owner.take(CancelRun(reason="enough"))
        assert owner.instance.status == "CANCELLED"
        assert [ask.key for ask in owner.asks()] == ([] if leave == "leave" else ["i-2-1"])
        assert owner.take(end_of(item)) == Noted(fresh=False)


def test_who_waits_for_an_instance_is_told_its_final_data() -> None:
    to = ReplyTo(entity="workflow", tenant="acme", key="parent")
    net: Fields = {
        "places": places("a", "z"),
        "transitions": [{"id": "t", "from_places": ["a"], "to_place": "z"}],
    }
    owner = started(net, origin=origin(reply_to=to), data={"n": 1})
    (ask,) = owner.asks()
    assert bytes(ask.command.outcome.value) == b'{"n":1}'
    assert owner.take(Inquire()).status == "COMPLETED"
    owner.take(CallbackAnswered())
    assert not owner.open


def test_an_instance_that_goes_on_says_so() -> None:
    assert isinstance(started(WAITS).take(Inquire()), Pending)


def test_the_same_request_attaches_and_another_one_is_a_conflict() -> None:
    owner = started(WAITS)
    again = beginning(net_of(**WAITS))
    assert owner.take(again).revision == 1
    other = msgspec.structs.replace(again, origin=origin(digest="other"))
    assert owner.take(other).code == "conflict"


def test_time_that_is_over_ends_an_instance() -> None:
    owner = started(WAITS | {"seconds": 30})
    owner.tick()
    assert owner.instance.status == "TIMED_OUT"


def test_a_migration_moves_tokens_and_refuses_what_has_nowhere_to_go() -> None:
    owner = started(WAITS)
    new = net_of(
        places=places("b", "z"),
        transitions=[{"id": "u", "from_places": ["b"], "to_place": "z"}],
    )
    raw = msgspec.json.encode(new)
    move = Migrate(version=2, net=msgspec.Raw(raw), net_digest="new")
    assert owner.take(move).code == "conflict"
    owner.take(msgspec.structs.replace(move, places={"a": "b"}))
    assert (owner.places, owner.instance.version) == (["z"], 2)
    assert at_once(replayed(owner.turns)).difference is None


def test_a_budget_stops_what_is_not_final_and_says_when_to_wrap_up() -> None:
    action = AGENT | {"output_mapping": {"data.text": "text"}}
    net: Fields = {
        "places": places("a", "b", "c", "z"),
        "transitions": [
            {"id": "t", "from_places": ["a"], "to_place": "b", "action": action},
            {"id": "u", "from_places": ["b"], "to_place": "z", "action": action},
        ],
        "budget": {"limit_pico": 100, "wrap_up_percent": 50, "reserve_percent": 20},
    }
    owner = started(net, origin=origin(worst={"writer": 60}))
    (item,) = owner.items()
    owner.take(end_of(item, cost=55))
    state = owner.instance
    assert state.marking.wrap_up
    assert state.problem is not None
    assert (state.status, state.problem.code) == ("FAILED", "budget_exceeded")
    assert state.problem.details["spent"] == 55
    final = net | {"budget": net["budget"] | {"limit_pico": 200}}
    owner = started(final, origin=origin(worst={"writer": 60}))
    (item,) = owner.items()
    owner.take(end_of(item, cost=55))
    assert len(owner.items()) == 1


def test_what_was_done_is_undone_latest_first() -> None:
    def step(name: str, start: str, end: str, **more: Any) -> Fields:
        undo = {"type": "workflow", "workflow_id": f"undo-{name}"}
        return {
            "id": name,
            "from_places": [start],
            "to_place": end,
            "action": AGENT,
            "compensation": undo,
        } | more

    net: Fields = {
        "places": places("a", "b", "c", "z"),
        "transitions": [
            step("one", "a", "b"),
            step("two", "b", "c"),
            step("three", "c", "z", on_error={"then": "compensate"}),
        ],
    }
    owner = started(net)
    for _ in range(2):
        owner.take(end_of(owner.items()[0]))
    owner.take(end_of(owner.items()[0], "FAILED"))
    undone: list[str] = []
    while owner.items():
        (item,) = owner.items()
        undone.append(msgspec.json.decode(item.body.request)["workflow_id"])
        owner.take(end_of(item))
    assert undone == ["undo-two", "undo-one"]
    assert owner.instance.status == "FAILED"


def test_turns_are_decided_again_to_the_same_and_a_difference_is_found() -> None:
    owner = one_action(AGENT)
    owner.take(end_of(owner.items()[0]))
    assert at_once(replayed(owner.turns)) == (2, None)
    assert at_once(state_after(owner.turns)) == owner.instance
    wrong = [
        owner.turns[0],
        msgspec.structs.replace(owner.turns[1], steps=owner.turns[1].steps[:1]),
    ]
    found = at_once(replayed(wrong))
    assert (found.turns, found.difference) == (1, "turn 2: 1 steps are now 3")

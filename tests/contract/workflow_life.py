"""The golden life of instances of workflows: all their own steps, a change of owner, a snapshot."""

from typing import Any

import msgspec

from actors.workflow.core.entity import INSTANCE
from actors.workflow.core.messages import (
    AnswerPerson,
    BeginRun,
    CancelRun,
    CancelTold,
    Migrate,
    Put,
    RunCommand,
    RunOrigin,
    RunTick,
    Signal,
    Suspend,
    Update,
)
from bus.requests.rpc import command
from bus.shard.turn import PendingCommand
from schemas.beginnings import HasBegun
from schemas.callbacks import CallbackAnswered, Ended, EndOutcome, WaitAnswered
from schemas.http_actions import HttpDone
from schemas.problems import Problem
from schemas.usage import Usage
from schemas.work import Claim, Lost, ReplyTo, WorkFailure
from tests.contract.recorder import BEGAN, Recorder

ENTITY = INSTANCE

PLACES: list[dict[str, Any]] = [
    {"id": "a", "type": "initial"},
    {"id": "b"},
    {"id": "c"},
    {"id": "w", "type": "waiting"},
    {"id": "z", "type": "terminal"},
]

AGENT = {
    "type": "agent",
    "agent_id": "writer",
    "task": "Write on {{data.topic}}.",
    "output_mapping": {"data.text": "text"},
    "retry_config": {"max_attempts": 2, "backoff_seconds": 1},
}

NET = {
    "places": PLACES,
    "transitions": [
        {"id": "split", "from_places": ["a"], "to_places": ["b", "c", "w"]},
        {"id": "write", "from_places": ["b"], "to_place": "z", "action": AGENT},
        {
            "id": "send",
            "from_places": ["c"],
            "to_place": "z",
            "action": {"type": "http", "url": "https://example.org/hook"},
        },
        {
            "id": "look",
            "from_places": ["w"],
            "to_place": "z",
            "rules": [{"type": "field_exists", "field": "ready"}],
            "action": {"type": "human", "title": "Look", "choices": ["yes", "no"]},
        },
        {
            "id": "hear",
            "from_places": ["w"],
            "to_place": "z",
            "rules": [{"type": "field_exists", "field": "heard"}],
            "action": {"type": "event", "subject": "crm.*"},
        },
    ],
    "budget": {"limit_pico": 1_000},
    "seconds": 86_400,
}

PARENT = ReplyTo(entity="workflow", tenant="acme", key="parent")
SLOW = Problem(code="rate_limited", message="slow down", retryable=True)


def live(recorder: Recorder) -> None:
    """Live through it."""
    recorder.take_over()
    recorder.turn(_begin("one", reply_to=PARENT), _begin("two"), _begin("three"))
    recorder.turn(
        _do("one", Claim(work="5.1", attempt=1)),
        _do("one", Lost(work="4.1", attempt=1, begun=True)),
    )
    failed = WorkFailure(work="4.1", attempt=2, problem=SLOW)
    recorder.turn(_do("one", failed), _do("one", Update(token="3", data={"ready": 1})))
    recorder.take_snapshot()
    recorder.turn(_do("one", RunTick()), _do("one", AnswerPerson(firing="6", choice="yes")))
    recorder.take_over()
    recorder.turn(_do("one", HasBegun(work="4.2", attempt=1)), seconds=2)
    recorder.turn(_do("one", RunTick()), seconds=1_000)
    of = _child("one", "4-2")
    recorder.turn(_do("one", WaitAnswered(ask=f"execution.acme.{of.key}.look.1", of=of)))
    recorder.turn(_do("one", _end(of)), _do("one", Suspend()), _do("one", Suspend(over=True)))
    value = EndOutcome(value=msgspec.Raw(b'{"status":200,"body":"ok"}'))
    recorder.turn(_do("one", HttpDone(work="5.1", attempt=1, outcome=value)))
    recorder.turn(_do("one", CallbackAnswered()))
    _ended_by_hand(recorder)


def _ended_by_hand(recorder: Recorder) -> None:
    """Migrate an instance and cancel it; what it has begun was not there at first."""
    raw = msgspec.json.encode({**NET, "seconds": 100})
    moved = Migrate(id="m", version=2, net=msgspec.Raw(raw), net_digest="second")
    heard = Signal(subject="crm.lead", event={"id": "e", "subject": "crm.lead", "data": {"n": 1}})
    recorder.turn(
        _do("two", moved),
        _do("two", Put(id="p", by="acme/ann", place="w", data={"heard": True})),
        _do("two", heard),
        _do("two", CancelRun(reason="enough")),
    )
    recorder.turn(_do("two", CancelTold(of=_child("two", "4-1"), missing=True)))
    recorder.turn(_do("two", RunTick()), seconds=60)
    recorder.turn(_do("two", CancelTold(of=_child("two", "4-1"))))
    recorder.turn(_do("three", RunTick()), seconds=86_400)


def _begin(name: str, reply_to: ReplyTo | None = None) -> PendingCommand:
    origin = RunOrigin(
        tenant="acme",
        instance_id=name,
        workflow_id="review",
        digest="d",
        user="ann",
        labels={"team": "red"},
        reply_to=reply_to,
        worst={"writer": 100},
    )
    raw = msgspec.Raw(msgspec.json.encode(NET))
    begins = BeginRun(origin=origin, version=1, net=raw, net_digest="first", data={"topic": "ä"})
    return _do(name, begins)


def _do(name: str, body: RunCommand) -> PendingCommand:
    return PendingCommand(command("", "acme", name, body))


def _child(name: str, end: str) -> ReplyTo:
    return ReplyTo(entity="execution", tenant="acme", key=f"{name}-{end}")


def _end(of: ReplyTo) -> Ended:
    outcome = EndOutcome(text="A text.", model="m")
    usage = Usage(input=3, output=4)
    return Ended(of=of, status="COMPLETED", at=BEGAN, usage=usage, cost=900, outcome=outcome)

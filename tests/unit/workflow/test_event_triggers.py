"""Events from outside: who hears them, and what that leads to, once and in no circles."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import msgspec
import pytest

from actors.workflow.adapters.known_nets import DueCrons, KnownNets
from actors.workflow.adapters.trigger_acts import TriggerActs
from actors.workflow.adapters.triggers import Triggers
from actors.workflow.core.event_triggers import (
    OutsideEvent,
    TriggerAct,
    act_of,
    event_id,
    listening_of,
)
from bus.codec import encode
from bus.config import Timing
from bus.errors import NobodyListensError
from bus.kv.bucket import BucketEntry
from bus.ports import Delivery
from bus.requests.events import StoredEvent
from schemas.nets import (
    CronTrigger,
    EventAction,
    EventTrigger,
    NetDefinition,
    PlaceDefinition,
    TransitionDefinition,
    Trigger,
)
from schemas.problems import Problem
from schemas.triggers import MOST_CHAIN, WorkflowTriggerFailedEvent
from schemas.workflow_runs import WorkflowHandle, WorkflowRun, WorkflowRunList, WorkflowRunSummary
from schemas.workflows import WorkflowDefinition

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
LEAD = {"name": "Ada", "score": 9, "company": {"size": 12}}


def event(subject: str = "crm.lead", data: Any = LEAD, *causes: str, **given: Any) -> OutsideEvent:
    values: dict[str, Any] = {"tenant": "acme", "id": "e-1", "time": NOW, **given}
    return OutsideEvent(subject=subject, data=data, causes=causes, **values)


def trigger(**given: Any) -> EventTrigger:
    values: dict[str, Any] = {"id": "lead", "subject": "crm.*", **given}
    return EventTrigger(**values)


def acted(wanted: EventTrigger, what: OutsideEvent) -> TriggerAct:
    act = act_of("follow_up", wanted, what)
    assert isinstance(act, TriggerAct)
    return act


# Pure


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ("event.data.score > 5", True),
        ("event.data.score > 50", False),
        ("event.subject == 'crm.lead' && event.id == 'e-1'", True),
        ("event.time < '2027'", True),
        ("event.data.name", False),
    ],
)
def test_a_trigger_fires_where_its_condition_is_true(condition: str, holds: bool):
    assert (act_of("w", trigger(condition=condition), event()) is not None) == holds


def test_another_subject_is_not_for_it():
    assert act_of("w", trigger(), event("crm.lead.deep")) is None
    assert act_of("w", trigger(subject="crm.>"), event("crm.lead.deep")) is not None


@pytest.mark.parametrize("bad", ["event.data.nothing > 1", "event.data.name > 1"])
def test_a_condition_that_cannot_be_judged_is_a_problem(bad: str):
    assert isinstance(act_of("w", trigger(condition=bad), event()), Problem)


def test_without_a_mapping_the_token_has_the_data_of_the_event():
    token = acted(trigger(), event()).token

    assert token["data"] == LEAD
    assert token["metadata"] == {"event_id": "e-1", "event_subject": "crm.lead"}
    assert acted(trigger(), event(data=[1])).token["data"] == {"event": [1]}


def test_a_mapping_fills_the_token_and_what_is_not_there_is_null():
    mapping = {
        "data.who": "event.data.name",
        "size": "data.company.size",
        "score": "score",
        "metadata.at": "event.time",
        "data.none": "data.company.city",
    }
    token = acted(trigger(data=mapping), event()).token

    assert token["data"] == {"who": "Ada", "size": 12, "score": 9, "none": None}
    assert token["metadata"]["at"] == "2026-12-01T12:00:00+00:00"


def test_the_same_event_is_the_same_instance_and_another_is_another():
    once, again = acted(trigger(), event()), acted(trigger(), event())
    assert once.instance_id == again.instance_id
    others = [
        acted(trigger(), event(id="e-2")),
        acted(trigger(id="other"), event()),
    ]
    assert len({once.instance_id, *(each.instance_id for each in others)}) == 3


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("event.data.name", "Ada"),
        ("event.data.score", "9"),
        ("'lead-' + event.data.name", "lead-Ada"),
    ],
)
def test_a_key_names_the_instance(key: str, expected: str):
    assert acted(trigger(key=key), event()).instance_id == expected


@pytest.mark.parametrize("key", ["event.data.company", "'a.b'", "event.data.x", "true", "''"])
def test_a_key_that_names_none_is_a_problem(key: str):
    assert isinstance(act_of("w", trigger(key=key), event()), Problem)


def test_what_an_instance_causes_is_one_deeper():
    first = acted(trigger(), event()).instance_id
    caused = [
        event("events.workflow.completed." + first),
        event("crm.lead", LEAD, f"workflow.acme.{first}.7.3.0"),
        event("events.x", LEAD, f"execution.acme.{first}-4-1.7.3.0"),
    ]

    assert event().depth == 0
    assert [each.depth for each in caused] == [1, 1, 1]
    deeper = acted(trigger(subject="events.>"), caused[0]).instance_id
    assert event(deeper).depth == 2


def test_an_event_without_an_id_is_the_same_within_a_second():
    names = [
        event_id("crm.lead", b"{}", NOW),
        event_id("crm.lead", b"{}", NOW + timedelta(milliseconds=900)),
        event_id("crm.lead", b"{}", NOW + timedelta(seconds=1)),
        event_id("crm.lead", b"[]", NOW),
        event_id("crm.leads", b"{}", NOW),
    ]
    assert names[0] == names[1]
    assert len(set(names)) == 4


# What definitions listen to


def definition(
    *triggers: Trigger, version: int = 1, waits: Sequence[str] = (), **given: Any
) -> WorkflowDefinition:
    transitions = [
        TransitionDefinition(
            id=f"w{n}", from_places=["in"], to_place="out", action=EventAction(subject=each)
        )
        for n, each in enumerate(waits)
    ]
    net = NetDefinition(
        places=[
            PlaceDefinition(id="in", type="initial"),
            PlaceDefinition(id="out", type="terminal"),
        ],
        transitions=transitions,
        triggers=list(triggers),
    )
    at = NOW + timedelta(hours=version)
    return WorkflowDefinition(
        id="w", version=version, created_at=NOW, updated_at=at, name="w", net=net, **given
    )


def told(*versions: WorkflowDefinition) -> KnownNets:
    nets = KnownNets()
    for place, each in enumerate(versions, 1):
        key = "acme.w" if place == len(versions) else f"acme.w.v{each.version}"
        nets.changed(BucketEntry(key, place, each))
    return nets


def heard(nets: KnownNets, what: OutsideEvent) -> list[str]:
    return [each.trigger.id for each in nets.triggers(what)]


LATER = NOW + timedelta(days=1)


async def test_the_triggers_of_the_newest_version_hear_what_came_after_they_stood():
    nets = told(
        definition(trigger(), trigger(id="gone"), version=1),
        definition(trigger(), trigger(id="new"), version=2),
    )

    assert heard(nets, event(time=LATER)) == ["lead", "new"]
    # The one that version 1 had already stands since then.
    assert heard(nets, event(time=NOW + timedelta(hours=1, minutes=1))) == ["lead"]
    assert heard(nets, event(time=NOW)) == []
    assert heard(nets, event(time=LATER, tenant="globex")) == []


async def test_a_deleted_definition_triggers_nothing_and_its_instances_still_wait():
    nets = told(
        definition(trigger(), version=1, waits=["pay.>"]),
        definition(trigger(), version=2),
        definition(trigger(), version=3, deleted_at=LATER),
    )

    assert heard(nets, event(time=LATER)) == []
    assert nets.waiting(event("pay.done")) == ["w"]
    assert nets.waiting(event("pay")) == []
    assert nets.passing() == {("acme", "pay.>")}


async def test_what_streams_keep_and_what_passes_are_told_apart():
    nets = told(definition(trigger(), trigger(id="f", subject="events.lead.*")))

    assert nets.passing() == {("acme", "crm.*")}
    assert nets.stored_since("events") == NOW + timedelta(hours=1)
    assert nets.stored_since("record") is None
    nets.removed("acme.w", 2)
    assert nets.passing() == set()
    assert nets.stored_since("events") is None


async def test_crons_are_to_be_armed_for_each_newest_version_and_disarmed_with_it():
    cron = CronTrigger(id="c", cron="0 0 * * *")
    nets = told(definition(cron, version=1))
    assert nets.due_crons() == [(("acme", "w"), DueCrons(1, [cron]))]
    assert nets.due_crons() == []
    nets.changed(BucketEntry("acme.w", 2, definition(version=2)))
    assert nets.due_crons() == [(("acme", "w"), DueCrons(2, []))]
    nets.changed(BucketEntry("acme.w", 3, definition(cron, version=3, deleted_at=NOW)))
    assert nets.due_crons() == [(("acme", "w"), DueCrons(3, []))]
    # What was archived is no newest version, and without crons and before there is nothing to do.
    nets.changed(BucketEntry("acme.w.v1", 4, definition(cron, version=1)))
    nets.changed(BucketEntry("acme.x", 5, definition(version=1)))
    assert nets.due_crons() == []


def test_compensations_may_wait_too():
    net = definition(waits=["a.b"]).net
    (one,) = net.transitions
    undo = msgspec.structs.replace(one, action=None, compensation=EventAction(subject="c.d"))
    net = msgspec.structs.replace(net, transitions=[undo])
    assert listening_of(net).waits == {"c.d"}


# What triggers do


class FakeFleet:
    """Stands for the transport, the outbox and all who answer."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], dict[str, str]]] = []
        self.refusals: dict[str, Problem] = {}
        self.away = False
        self.labels: dict[str, str] | None = None
        self.live = {"RUNNING": ["r-1"], "WAITING": ["r-2"]}
        self.told: list[WorkflowTriggerFailedEvent] = []

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        assert timeout > 0
        if self.away:
            raise NobodyListensError(subject)
        name = subject.removeprefix("_cb.ask.acme.workflows.")
        body = msgspec.json.decode(data)
        self.asked.append((name, body, headers or {}))
        return Delivery(subject, encode(self._answer(name, body)))

    def _answer(self, name: str, body: dict[str, Any]) -> msgspec.Struct:
        if name in self.refusals:
            return self.refusals[name]
        if name == "list_runs":
            runs = [
                WorkflowRunSummary(
                    instance_id=each,
                    workflow_id="w",
                    version=1,
                    status=body["status"],
                    revision=1,
                    created_at=NOW,
                )
                for each in self.live[body["status"]]
            ]
            return WorkflowRunList(runs=runs, total=None, limit=1, offset=0)
        if name == "get_run":
            if self.labels is None:
                return Problem(code="not_found", message="none")
            return WorkflowRun(
                instance_id="x",
                workflow_id="w",
                version=1,
                status="RUNNING",
                revision=1,
                digest="",
                stream="",
                created_at=NOW,
                labels=self.labels,
            )
        return WorkflowHandle(
            instance_id="x", workflow_id="w", version=1, status="RUNNING", stream="", revision=1
        )

    async def post(self, subject: str, data: bytes, *, message_id: str) -> None:
        assert subject == "cb.acme.events.workflow.trigger_failed.w"
        assert message_id
        self.told.append(msgspec.json.decode(data, type=WorkflowTriggerFailedEvent))

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.asked]


def acts(fleet: FakeFleet) -> TriggerActs:
    return TriggerActs(fleet, fleet, lambda: NOW)  # pyright: ignore[reportArgumentType]  the parts that are used


async def done(fleet: FakeFleet, wanted: EventTrigger, what: OutsideEvent) -> None:
    act = act_of("w", wanted, what)
    assert isinstance(act, TriggerAct)
    await acts(fleet).do(what, act)


async def test_an_instance_starts_under_its_id_and_tells_its_trigger():
    fleet = FakeFleet()
    await done(fleet, trigger(), event())

    ((name, body, headers),) = fleet.asked
    assert name == "start"
    act = act_of("w", trigger(), event())
    assert isinstance(act, TriggerAct)
    assert body["id"] == act.instance_id
    assert body["labels"] == {"trigger": "lead", "trigger_depth": "0"}
    assert (body["workflow_id"], body["data"]) == ("w", LEAD)
    assert msgspec.json.decode(headers["Callboard-Principal"])["tenant"] == "acme"


@pytest.mark.parametrize(
    ("given", "name", "body"),
    [
        ({"does": "put_token", "place": "in"}, "put_token", {"place": "in", "data": LEAD}),
        ({"does": "fire", "transition": "go"}, "fire", {"transition": "go"}),
    ],
)
async def test_a_token_is_put_or_a_transition_fired_once_for_an_event(
    given: dict[str, Any], name: str, body: dict[str, Any]
):
    fleet, wanted = FakeFleet(), trigger(key="event.data.name", **given)
    await done(fleet, wanted, event())
    await done(fleet, wanted, event())
    await done(fleet, wanted, event(id="e-2"))

    assert fleet.names == [name] * 3
    assert {**fleet.asked[0][1], **body, "instance_id": "Ada"} == fleet.asked[0][1]
    ids = [headers["Callboard-Submission"] for _, _, headers in fleet.asked]
    assert ids[0] == ids[1] != ids[2]


async def test_what_is_refused_is_told():
    fleet = FakeFleet()
    fleet.refusals["start"] = Problem(code="not_found", message="there is no workflow w")
    await done(fleet, trigger(), event())

    (failed,) = fleet.told
    assert (failed.trigger, failed.cause, failed.problem.code) == ("lead", "e-1", "not_found")


async def test_of_events_with_one_key_the_first_starts_the_instance():
    fleet = FakeFleet()
    fleet.refusals["start"] = Problem(code="conflict", message="another request had this id")
    await done(fleet, trigger(key="event.data.name"), event())
    assert fleet.told == []
    await done(fleet, trigger(), event())
    assert len(fleet.told) == 1


async def test_a_loop_ends_and_is_told():
    fleet, wanted, subject = FakeFleet(), trigger(subject="events.>"), "events.lead.scored"
    for _ in range(MOST_CHAIN + 3):
        before = len(fleet.asked)
        await done(fleet, wanted, event(subject))
        if len(fleet.asked) == before:
            break
        subject = f"events.workflow.completed.{fleet.asked[-1][1]['id']}"

    assert fleet.names == ["start"] * MOST_CHAIN
    assert [failed.problem.code for failed in fleet.told] == ["conflict"]


@pytest.mark.parametrize(("known", "started"), [("3", True), (str(MOST_CHAIN - 1), False)])
async def test_instances_with_keys_know_their_chain_themselves(known: str, started: bool):
    fleet = FakeFleet()
    fleet.labels = {"trigger_depth": known}
    await done(
        fleet, trigger(key="event.data.name"), event("crm.x", LEAD, "workflow.acme.k1.4.2.0")
    )

    assert (fleet.names == ["get_run", "start"]) == started
    if started:
        assert fleet.asked[-1][1]["labels"]["trigger_depth"] == "4"
    assert bool(fleet.told) != started


async def test_an_instance_does_not_act_on_itself():
    fleet = FakeFleet()
    wanted = trigger(does="put_token", place="in", key="event.data.name")
    await done(fleet, wanted, event("crm.x", LEAD, "workflow.acme.Ada.4.2.0"))

    assert fleet.asked == []
    assert fleet.told[0].problem.code == "conflict"


# The listener


class FakeWatch:
    fresh = True

    def __init__(self) -> None:
        self.catch_ups = 0

    async def catch_up(self, *, timeout: float) -> None:
        assert timeout > 0
        self.catch_ups += 1
        await anyio.sleep(0.01)


def listener(fleet: FakeFleet, nets: KnownNets, watch: FakeWatch | None = None) -> Triggers:
    unused: Any = None
    return Triggers(nets, watch or FakeWatch(), acts(fleet), unused, unused, Timing())


def stored(subject: str, data: bytes = b'{"a":1}', **given: Any) -> StoredEvent:
    values: dict[str, Any] = {"headers": {"Nats-Msg-Id": "m-1"}, "time": LATER, "delivered": 1}
    return StoredEvent(subject=f"cb.acme.{subject}", data=data, **(values | given))

"""Crons of a definition: each time begins one instance, whatever is late, lost or done twice."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.workflow.core.cron_trigger import (
    CRONS,
    GRACE,
    MOST_BEGINNINGS,
    ArmedCrons,
    CronCame,
    CronCommand,
    token_of,
)
from schemas.beginnings import BeginWork, HasBegun
from schemas.callbacks import Ended, Noted
from schemas.decision import Publish
from schemas.identity import KeptPrincipal, admin
from schemas.nets import CronTrigger
from schemas.problems import Problem
from schemas.triggers import ArmCrons, CronsAre, CronTick, WorkflowTriggerFailedEvent
from schemas.work import Lost, ReplyTo, WorkFailure, WorkItem

START = datetime(2026, 12, 1, 12, 0, 30, tzinfo=UTC)
ADMIN = KeptPrincipal.of(admin("acme"))
MINUTE = timedelta(minutes=1)
NOWHERE = Problem(code="not_found", message="there is no workflow nightly")
AWAY = Problem(code="unavailable", message="nobody is there", retryable=True)


class Crons:
    """The entity, and all that it has opened and told."""

    def __init__(self) -> None:
        self.now = START
        self.state: ArmedCrons = CRONS.initial("acme", "nightly") or ArmedCrons(
            tenant="", workflow_id=""
        )
        self.came: list[datetime] = []
        self.ids: list[str] = []
        self.told: list[Publish] = []

    def take(self, command: CronCommand) -> Any:
        before = {item.id for item in self.open()}
        decision = CRONS.decide(self.state, command, self.now)
        for event in decision.events:
            after = CRONS.evolve(self.state, event)
            self.told += CRONS.announce(self.state, event, after)
            self.state = after
            if isinstance(event, CronCame):
                self.came.append(event.at)
        self.ids += [item.body.id for item in self.open() if item.id not in before]
        return decision.reply

    def open(self) -> Sequence[WorkItem[BeginWork]]:
        return [item for item in CRONS.effects(self.state) if isinstance(item, WorkItem)]

    def arm(self, *crons: CronTrigger, version: int = 1) -> Any:
        return self.take(ArmCrons(version=version, crons=list(crons), by=ADMIN))

    def tick(self, now: datetime) -> None:
        self.now = max(now, self.now)
        self.take(CronTick())

    def begun(self) -> None:
        for item in self.open():
            self.take(HasBegun(work=item.work, attempt=item.attempt))


def every(minutes: int, name: str = "often", **given: Any) -> CronTrigger:
    return CronTrigger(id=name, cron=f"*/{minutes} * * * *", **given)


def armed(*crons: CronTrigger) -> Crons:
    made = Crons()
    made.arm(*crons)
    return made


@given(st.lists(st.floats(0, GRACE.total_seconds() - 1), min_size=1, max_size=12), st.data())
def test_each_time_begins_one_instance_however_late_and_often_it_is_looked_at(
    delays: list[float], data: st.DataObject
):
    crons = armed(every(5), every(7, "other"))
    expected: list[datetime] = []
    for late in delays:
        due = CRONS.due(crons.state)
        assert due is not None
        expected += [due] * sum(cron.next == due for cron in crons.state.crons.values())
        crons.tick(due + timedelta(seconds=late))
        crons.tick(crons.now)
        for item in crons.open():
            if data.draw(st.booleans()):
                crons.take(Lost(work=item.work, attempt=item.attempt, begun=False))
        crons.begun()

    assert crons.came == expected
    assert len(set(crons.ids)) == len(expected)
    assert crons.open() == []
    assert crons.state.begins == {}


@pytest.mark.parametrize(("catch_up", "made_up"), [(True, 1), (False, 0)])
def test_what_was_missed_is_made_up_for_once_or_not_at_all(catch_up: bool, made_up: int):
    crons = armed(every(5, catch_up=catch_up))

    crons.tick(START + timedelta(days=400))

    assert crons.came[:made_up] == [datetime(2026, 12, 1, 12, 5, tzinfo=UTC)][:made_up]
    # 12:00:30 four hundred days later: the time half a minute ago is not missed.
    assert crons.came[made_up:] == [datetime(2028, 1, 5, 12, 0, tzinfo=UTC)]
    assert CRONS.due(crons.state) == datetime(2028, 1, 5, 12, 5, tzinfo=UTC)


def test_an_instance_begins_in_the_name_of_who_armed_it_with_the_data_of_the_trigger():
    crons = armed(every(5, data={"data.a.b": 1, "c": [2], "metadata.m": "x", "id": "no"}))
    crons.tick(START + 5 * MINUTE)

    (item,) = crons.open()
    body = item.body
    assert (item.queue, item.tenant, item.once) == ("begin", "acme", False)
    assert item.reply_to == ReplyTo(entity="trigger", tenant="acme", key="nightly")
    assert (body.name, body.by) == ("workflows.start", admin("acme"))
    assert body.id.startswith("t0-")
    assert msgspec.json.decode(body.request) == {
        "workflow_id": "nightly",
        "labels": {"trigger": "often", "trigger_time": "2026-12-01T12:05:00+00:00"},
        "data": {"a": {"b": 1}, "c": [2]},
        "metadata": {"m": "x"},
    }


def test_another_attempt_begins_the_same_instance_and_one_of_another_time_another():
    crons = armed(every(5))
    crons.tick(START + 5 * MINUTE)
    (first,) = crons.open()
    crons.take(WorkFailure(work=first.work, attempt=1, problem=AWAY))
    assert crons.open() == []
    retry = CRONS.due(crons.state)
    assert retry is not None
    crons.tick(retry)
    (second,) = crons.open()
    crons.begun()
    crons.tick(START + 10 * MINUTE)
    (third,) = crons.open()

    assert (second.attempt, second.body) == (2, first.body)
    assert third.body.id != first.body.id
    assert crons.told == []


def test_a_beginning_that_is_refused_is_told_and_the_next_time_comes():
    crons = armed(every(5))
    crons.tick(START + 5 * MINUTE)
    (item,) = crons.open()
    crons.take(WorkFailure(work=item.work, attempt=1, problem=NOWHERE))

    (told,) = crons.told
    assert told.subject == "cb.acme.events.workflow.trigger_failed.nightly"
    assert isinstance(told.body, WorkflowTriggerFailedEvent)
    assert (told.body.trigger, told.body.problem) == ("often", NOWHERE)
    assert crons.open() == []
    crons.tick(START + 10 * MINUTE)
    assert len(crons.open()) == 1


def test_of_versions_the_newest_counts_in_whatever_order_they_come():
    crons = armed(every(5), every(3, "gone"))
    kept = crons.state.crons["often"].next
    crons.now += MINUTE / 2

    assert crons.arm(every(5, data={"x": 1}), every(9, "new"), version=3) == CronsAre(version=3)
    assert crons.arm(every(5), version=2) == CronsAre(version=3)
    assert crons.state.crons.keys() == {"often", "new"}
    assert crons.state.crons["often"].next == kept
    assert crons.state.crons["often"].trigger.data == {"x": 1}


def test_a_definition_that_goes_disarms_its_crons_and_what_began_goes_on():
    crons = armed(every(5))
    crons.tick(START + 5 * MINUTE)
    crons.arm(version=2)
    crons.tick(START + timedelta(hours=1))

    assert len(crons.came) == 1
    assert len(crons.open()) == 1
    crons.begun()
    assert CRONS.due(crons.state) is None


def test_a_definition_without_crons_stores_nothing():
    state = CRONS.initial("acme", "plain")
    decision = CRONS.decide(state, ArmCrons(version=4, crons=[], by=ADMIN), START)

    assert (decision.events, decision.reply) == ((), CronsAre(version=4))


def test_a_cron_that_never_comes_arms_nothing():
    crons = Crons()
    refused = crons.arm(every(5), CronTrigger(id="never", cron="0 0 31 2 *"))

    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) == ("validation", "crons.1.cron")
    assert crons.state.crons == {}


def test_beginnings_that_pile_up_are_bounded():
    crons = armed(*(every(1, f"c{n}") for n in range(MOST_BEGINNINGS + 9)))
    crons.tick(START + MINUTE)
    crons.tick(START + 2 * MINUTE)

    assert len(crons.open()) == MOST_BEGINNINGS


def test_the_end_of_what_began_is_noted_and_changes_nothing():
    crons = armed(every(5))
    ended = Ended(
        of=ReplyTo(entity="workflow", tenant="acme", key="t0-x"), status="COMPLETED", at=START
    )
    before = crons.state
    assert crons.take(ended) == Noted(fresh=False)
    assert crons.state is before


def test_paths_that_cannot_be_set_are_left_out():
    assert token_of({"counters.x": 1, "data": 2, "y": 3}) == {"data": {"y": 3}, "metadata": {}}

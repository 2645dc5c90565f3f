"""The listener: stored events, waits that are told twice, what is no JSON."""

import anyio
import pytest

from actors.workflow.adapters import trigger_acts
from schemas.problems import Problem
from tests.unit.workflow.test_event_triggers import (
    FakeFleet,
    FakeWatch,
    definition,
    listener,
    stored,
    told,
    trigger,
)


async def test_a_stored_event_starts_what_listens_and_is_done_with():
    fleet = FakeFleet()
    listens = listener(fleet, told(definition(trigger(subject="events.lead.*"))))

    assert await listens.take(stored("events.lead.scored")) is None
    assert fleet.names == ["start"]
    assert fleet.asked[0][1]["data"] == {"a": 1}
    assert await listens.take(stored("events.other.scored")) is None
    assert fleet.names == ["start"]


async def test_nobody_there_brings_the_event_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(trigger_acts, "PATIENCE_SECONDS", 0.0)
    fleet = FakeFleet()
    fleet.refusals["start"] = Problem(code="unavailable", message="later", retryable=True)
    listens = listener(fleet, told(definition(trigger(subject="events.lead.*"))))

    with anyio.fail_after(20):
        again = await listens.take(stored("events.lead.scored"))
    assert again == 1.0
    assert fleet.told == []


async def test_instances_that_wait_are_told_now_and_once_more_a_second_later():
    fleet = FakeFleet()
    listens = listener(fleet, told(definition(waits=["events.pay.*"])))

    assert await listens.take(stored("events.pay.done")) == 1.0
    fleet.live["WAITING"] = ["r-2", "r-3"]
    assert await listens.take(stored("events.pay.done", delivered=2)) is None

    signals = [
        (body["instance_id"], body["id"]) for name, body, _ in fleet.asked if name == "signal"
    ]
    assert signals == [
        ("r-1", "m-1"),
        ("r-2", "m-1"),
        ("r-1", "m-1"),
        ("r-2", "m-1"),
        ("r-3", "m-1"),
    ]


async def test_that_a_trigger_has_failed_triggers_nothing():
    fleet = FakeFleet()
    listens = listener(fleet, told(definition(trigger(subject="events.>"))))

    assert await listens.take(stored("events.workflow.trigger_failed.w")) is None
    assert fleet.asked == []


@pytest.mark.parametrize("data", [b"\xffplain", b"{"])
async def test_what_is_no_json_is_a_text(data: bytes):
    fleet = FakeFleet()
    listens = listener(fleet, told(definition(trigger(subject="events.lead.*"))))
    await listens.take(stored("events.lead.scored", data))

    assert fleet.asked[0][1]["data"] == {"event": data.decode(errors="replace")}


async def test_many_events_ask_together_whether_all_definitions_are_known():
    fleet, watch = FakeFleet(), FakeWatch()
    listens = listener(fleet, told(definition(trigger(subject="events.lead.*"))), watch)
    async with anyio.create_task_group() as tasks:
        for n in range(40):
            tasks.start_soon(listens.take, stored(f"events.lead.n{n}"))

    assert watch.catch_ups <= 3
    assert len(fleet.asked) == 40

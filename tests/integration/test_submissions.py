"""Submitted commands on a real nats-server: each is carried out, or its refusal is told."""

from collections import Counter
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import anyio
import msgspec
import pytest
from structlog.testing import capture_logs

from bus.codec import decode, encode
from bus.errors import TransientError
from bus.jetstream import NatsBus
from bus.ports import Delivery
from bus.requests.rpc import command
from bus.streams.spec import inbox_spec, inbox_stream
from bus.subjects import mailbox_subject, shard_of
from bus.testing import nats_world
from schemas.executions import ExecuteAgent
from schemas.fleet import UNHEARD_RESULT, UnheardResult
from schemas.journal import CommandEnvelope
from schemas.problems import Problem
from schemas.work import Done, Settled
from tests.integration.waiting import until
from tests.servers import PATIENCE, local_server
from tests.submitting import (
    AWAY,
    SECONDS,
    TIMING,
    Fleet,
    emptied,
    execution,
    insist,
    letters,
    messages,
    rejected,
    rejections,
    submit,
)


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[Fleet]:
    async with nats_world(local_server(tmp_path), timing=TIMING) as world:
        yield Fleet(world)


# Tenants do not meet


async def test_the_message_id_of_one_tenant_swallows_no_command_of_another(fleet: Fleet):
    headers = {"Nats-Msg-Id": "order-1"}
    async with fleet.process(tenants=("acme", "globex")) as bus:
        for tenant in ("acme", "globex", "newcomer"):
            for _ in range(2):
                answer = await submit(bus, tenant, execution("once"), headers=headers)
                assert answer["stream"] == f"INBOX_{tenant}"
        await until(lambda: len(fleet.done) == 3)
        await emptied(bus, "newcomer")

    assert set(fleet.done.values()) == {1}


async def test_a_receipt_names_the_command_and_tells_nothing_of_other_tenants(fleet: Fleet):
    async with fleet.process(tenants=("acme", "globex")) as bus:
        first = await submit(bus, "acme", execution("1"))
        for n in range(5):
            await submit(bus, "globex", execution(f"other {n}"))
        second = await submit(bus, "acme", execution("2"))
        await until(lambda: len(fleet.done) == 7)

    assert second["seq"] == first["seq"] + 1
    for task, receipt in (("1", first), ("2", second)):
        assert fleet.ids["acme", task] == f"{receipt['stream']}-{receipt['seq']}"


async def test_an_inbox_that_is_made_again_gives_no_id_a_second_time(fleet: Fleet):
    async with fleet.process(tenants=("acme",)) as bus:
        first = await submit(bus, "acme", execution("1"))
        await emptied(bus, "acme")
        await bus.jetstream.call(f"STREAM.DELETE.{inbox_stream('acme')}")
        await anyio.sleep(2 * TIMING.inbox_look_seconds)
        second = await insist(bus, "acme", execution("2"))

    assert second["seq"] > first["seq"]


async def test_a_repeat_is_the_same_command_after_the_servers_window_too(fleet: Fleet):
    timing = msgspec.structs.replace(TIMING, duplicate_window_seconds=0.2)
    headers = {"Nats-Msg-Id": "order-1"}
    ids: list[str | None] = []
    async with fleet.process(timing=timing, tenants=("acme",)) as bus:
        for count in (1, 2):
            await submit(bus, "acme", execution("once"), headers=headers)
            await until(lambda count=count: fleet.done["acme", "once"] == count)
            ids.append(fleet.ids["acme", "once"])
            await anyio.sleep(0.5)

    assert ids[0] == ids[1] is not None
    assert "order" not in str(ids[0])


FORGED: list[dict[str, str]] = [
    {"Nats-Expected-Stream": "EVENTS"},
    {"Nats-Expected-Last-Sequence": "7"},
    {"Nats-Expected-Last-Msg-Id": "x"},
    {"Nats-Rollup": "all"},
    {"Nats-TTL": "1s"},
    {"Nats-Schedule": "@at 2036-01-01T00:00:00Z", "Nats-Schedule-Target": "cb.globex.submit.a.b"},
    {"Nats-Batch-Id": "b", "Nats-Batch-Sequence": "1", "Nats-Batch-Commit": "1"},
]


async def test_headers_that_are_meant_for_the_server_reach_nobody_else(fleet: Fleet):
    async with fleet.process(tenants=("acme", "globex")) as bus:
        for tenant in ("acme", "newcomer"):
            for headers in FORGED:
                answer = await insist(bus, tenant, execution("forged"), headers=headers)
                assert "error" in answer, (tenant, headers)
            assert "error" not in await insist(bus, tenant, execution("sound"))
        assert "error" not in await submit(bus, "globex", execution("sound"))
        await until(lambda: len(fleet.done) == 3)

    assert set(fleet.done) == {(tenant, "sound") for tenant in ("acme", "globex", "newcomer")}


# New tenants


async def test_the_first_command_of_a_tenant_is_stored_and_carried_out_once(fleet: Fleet):
    async with fleet.process() as bus:
        receipt = await submit(bus, "acme-2", execution("first"))
        await until(lambda: fleet.done["acme-2", "first"] == 1)
        await emptied(bus, "acme-2")

    assert receipt["stream"] == inbox_stream("acme-2")
    assert fleet.ids["acme-2", "first"] == f"INBOX_acme-2-{receipt['seq']}"
    assert fleet.done.total() == 1


async def test_new_tenants_that_come_at_once_to_several_processes_lose_and_double_nothing(
    fleet: Fleet,
):
    tenants, each = [f"t{n}" for n in range(30)], 12
    answers: Counter[str] = Counter()

    async def send(bus: NatsBus, tenant: str, n: int) -> None:
        headers = {"Nats-Msg-Id": f"n{n}"} if n % 2 else None
        answer = await insist(bus, tenant, execution(str(n)), headers)
        answers["stored" if answer.get("stream") and "error" not in answer else str(answer)] += 1

    async with (
        fleet.process() as one,
        fleet.process() as two,
        fleet.process("pricing") as three,
        fleet.process("pricing") as four,
    ):
        async with anyio.create_task_group() as tasks:
            for n in range(each):
                for place, tenant in enumerate(tenants):
                    bus = (one, two, three, four)[(place + n) % 4]
                    tasks.start_soon(send, bus, tenant, n)
                await anyio.sleep(0.003)
        await until(lambda: len(fleet.done) == len(tenants) * each)
        for tenant in tenants:
            await emptied(one, tenant)

    assert answers == {"stored": len(tenants) * each}
    assert set(fleet.done.values()) == {1}


async def test_there_are_only_so_many_tenants_and_the_refusal_says_so(fleet: Fleet):
    async with fleet.process(tenants=("a", "b"), most=3) as bus:
        assert "error" not in await submit(bus, "c", execution("1"))
        refused = await submit(bus, "d", execution("1"))
        assert "error" not in await submit(bus, "a", execution("1"))

    assert (refused["type"], refused["code"]) == ("problem", "rate_limited")
    assert "3 tenants" in refused["message"]
    assert refused["error"]["description"] == refused["message"]
    assert decode(Problem, msgspec.json.encode(refused)).retryable is False


async def test_a_name_that_no_tenant_can_have_gets_no_inbox(fleet: Fleet):
    async with fleet.process() as bus:
        refused = await submit(bus, "$SYS", execution("1"))

    assert (refused["code"], refused["field"]) == ("validation", "tenant")


async def test_without_a_fleet_the_sender_of_a_new_tenant_knows_that_nothing_is_stored(
    fleet: Fleet,
):
    async with fleet.process(tenants=("acme",)):
        pass
    async with fleet.world.process("sender") as bus:
        assert (await submit(bus, "acme", execution("later")))["stream"] == "INBOX_acme"
        with pytest.raises(TransientError):
            await submit(bus, "newcomer", execution("never"))
        async with fleet.process(tenants=("acme",)):
            await until(lambda: fleet.done["acme", "later"] == 1)


# Every command comes to somebody


@pytest.mark.parametrize("name", ["agents.get", "nonsense.x", "agents.execute.more", "x"])
async def test_what_is_no_command_is_rejected_and_does_not_stay(fleet: Fleet, name: str):
    async with fleet.process(tenants=("acme",)) as bus, rejections(bus, "acme") as told:
        assert (await submit(bus, "acme", b"{}", name))["stream"] == "INBOX_acme"
        await told.holds(1)
        await emptied(bus, "acme")
        [letter] = await letters(bus)

    [event] = rejected(told)
    assert event.command == letter.subject == f"cb.acme.submit.{name}"
    assert event.error.code == ("validation" if name == "agents.get" else "not_found")


async def test_what_lies_in_an_inbox_when_the_fleet_starts_is_rejected_too(fleet: Fleet):
    async with fleet.process(tenants=("acme",)):
        pass
    async with fleet.world.process("sender") as bus, rejections(bus, "acme") as told:
        await submit(bus, "acme", b"{}", "nonsense.x")
        async with fleet.process(tenants=("acme",)):
            await told.holds(1)


async def test_a_command_of_another_service_is_carried_out_there(fleet: Fleet):
    async with fleet.process(tenants=("acme",)) as bus:
        await submit(bus, "acme", b"{}", "limits.set")
        await anyio.sleep(0.3)
        assert await messages(bus, "acme") == 1
        async with fleet.limiting(bus):
            await until(lambda: fleet.done["acme", "limits"] == 1)
            await emptied(bus, "acme")


# Refusals, age and bounds


async def test_a_stuck_command_blocks_no_other_one(fleet: Fleet):
    fleet.refused = {f"stuck {n}": AWAY for n in range(200)}
    async with fleet.process(tenants=("acme", "globex")) as bus:
        for n in range(200):
            await submit(bus, "acme", execution(f"stuck {n}"))
        await submit(bus, "acme", execution("hang"))
        for tenant in ("acme", "globex"):
            await submit(bus, tenant, execution("free"))
            await until(lambda tenant=tenant: fleet.done[tenant, "free"] == 1)
        await until(lambda: fleet.tries["stuck 0"] > 12)
        fleet.refused = {}
        fleet.stuck.set()
        await until(lambda: len(fleet.done) == 203)
        await emptied(bus, "acme")
        assert await letters(bus) == []


async def test_a_refused_command_is_tried_until_its_age_and_then_rejected(fleet: Fleet):
    fleet.refused = {"stuck": AWAY}
    async with (
        fleet.process(tenants=("acme",), days=2 * SECONDS) as bus,
        rejections(bus, "acme") as told,
    ):
        began = anyio.current_time()
        await submit(bus, "acme", execution("stuck", id="mine"))
        await told.holds(1)
        assert anyio.current_time() - began >= 1
        await emptied(bus, "acme")
        [letter] = await letters(bus)

    [event] = rejected(told)
    assert (event.id, event.error.code) == ("mine", "timeout")
    assert "unavailable: not now" in event.error.message
    assert (letter.id, decode(ExecuteAgent, letter.body.encode()).task) == ("mine", "stuck")
    assert fleet.tries["stuck"] > 4


async def test_a_command_that_waited_too_long_for_a_fleet_is_rejected_and_not_carried_out(
    fleet: Fleet,
):
    async with fleet.process(tenants=("acme",)):
        pass
    async with fleet.world.process("sender") as bus, rejections(bus, "acme") as told:
        await submit(bus, "acme", execution("late"))
        await anyio.sleep(0.3)
        async with fleet.process(tenants=("acme",), days=0.2 * SECONDS):
            await told.holds(1)
            await emptied(bus, "acme")

    assert rejected(told)[0].error.code == "timeout"
    assert not fleet.done


async def test_a_full_inbox_refuses_what_comes_and_keeps_what_it_has(fleet: Fleet):
    timing = msgspec.structs.replace(TIMING, inbox_max_bytes=4096)
    async with fleet.process(timing=timing, tenants=("acme", "globex")):
        pass
    async with fleet.world.process("sender") as bus:
        answers = [await submit(bus, "acme", execution("x" * 900)) for _ in range(6)]
        kept = await messages(bus, "acme")
        assert "error" not in await submit(bus, "globex", execution("free"))

    assert [("error" in answer) for answer in answers] == [False] * kept + [True] * (6 - kept)
    assert 0 < kept < 6


async def test_commands_are_read_again_after_the_server_was_killed(fleet: Fleet):
    async with fleet.process(tenants=("acme",)) as bus:
        await submit(bus, "acme", execution("before"))
        await until(lambda: fleet.done["acme", "before"] == 1)
        await fleet.world.restart()
        await until(lambda: bus.nats.connected)
        with anyio.fail_after(20 * PATIENCE):
            while not fleet.done["acme", "after"]:
                with anyio.move_on_after(1):
                    await submit(bus, "acme", execution("after"), headers={"Nats-Msg-Id": "a"})
        await emptied(bus, "acme")


async def test_commands_are_taken_as_soon_as_the_bus_can_hand_them_out(fleet: Fleet):
    async with fleet.process(tenants=("acme",)) as bus:
        stream = inbox_stream("acme")
        broken = inbox_spec("acme", TIMING).settings(fleet.world.server.durability)
        await bus.jetstream.call(f"STREAM.UPDATE.{stream}", broken | {"max_consumers": -1})
        taken = {"name": "taken", "durable_name": "taken", "ack_policy": "explicit"}
        request = f"CONSUMER.CREATE.{stream}.taken"
        await bus.jetstream.call(request, {"stream_name": stream, "config": taken})
        with capture_logs() as logs:
            await submit(bus, "acme", execution("1"))
            await until(lambda: any("not_read" in line["event"] for line in logs))
        await bus.jetstream.call(f"CONSUMER.DELETE.{stream}.taken")
        await until(lambda: fleet.done["acme", "1"] == 1)


async def test_an_idle_inbox_has_nobody_who_asks_it_for_anything(fleet: Fleet):
    async with fleet.process(tenants=("acme", "idle")) as bus:
        await submit(bus, "acme", execution("1"))
        await until(lambda: fleet.done["acme", "1"] == 1)
        info = partial(bus.jetstream.call, f"CONSUMER.INFO.{inbox_stream('acme')}.commands")
        with anyio.fail_after(10):
            while (await info())["num_waiting"]:
                await anyio.sleep(0.05)
        await anyio.sleep(3 * TIMING.inbox_look_seconds)
        assert (await info())["num_waiting"] == 0
        idle = await bus.jetstream.stream_info(inbox_stream("idle"))

    assert idle["state"]["consumer_count"] == 0


async def test_a_result_that_a_worker_has_left_behind_reaches_its_entity(fleet: Fleet):
    heard: list[CommandEnvelope] = []
    envelope = command("item.result", "acme", "key", Done(work="w", attempt=1))
    mailbox = mailbox_subject("flow", shard_of("acme", "key", 16))
    async with fleet.process(tenants=("acme",)) as bus:

        async def hear(delivery: Delivery) -> None:
            heard.append(decode(CommandEnvelope, delivery.data))
            await bus.transport.publish(delivery.reply, encode(Settled(accepted=True)))

        async with bus.transport.subscription(mailbox, hear):
            left = UnheardResult(entity="flow", envelope=envelope)
            await submit(bus, "acme", encode(left), name=UNHEARD_RESULT)
            await until(lambda: len(heard) == 1)
            await emptied(bus, "acme")

    assert heard == [envelope]


async def test_a_result_for_the_work_of_another_tenant_is_refused(fleet: Fleet):
    envelope = command("item.result", "globex", "key", Done(work="w", attempt=1))
    async with fleet.process(tenants=("acme",)) as bus, rejections(bus, "acme") as inbox:
        left = UnheardResult(entity="flow", envelope=envelope)
        await submit(bus, "acme", encode(left), name=UNHEARD_RESULT)
        await inbox.holds(1)

    assert [event.error.code for event in rejected(inbox)] == ["validation"]

"""The streams on a real server: made where missing, compared where present, never changed."""

from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
import structlog

from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import ConfigError, DriftError, UnavailableError
from bus.jetstream.publishing import store
from bus.server import EmbeddedServer
from bus.streams import provision as provisioning
from bus.streams.api import JetStream
from bus.streams.provision import provision
from bus.streams.spec import EVENTS, LIVE, StreamSpec, key_value_spec, stream_specs
from bus.testing import NatsWorld
from tests.integration.waiting import until
from tests.servers import PATIENCE

pytestmark = pytest.mark.single_server

SPECS = (
    *stream_specs(("execution",), Timing()),
    key_value_spec("definitions", max_bytes=1024**2),
)
JOURNAL = SPECS[0]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncGenerator[EmbeddedServer]:
    async with EmbeddedServer(tmp_path) as running:
        yield running


@pytest.fixture
async def jetstream(server: EmbeddedServer) -> AsyncGenerator[JetStream]:
    async with connect(NatsAddress(urls=(server.url,), name="test")) as transport:
        yield JetStream(transport)


async def _configs(jetstream: JetStream) -> dict[str, dict[str, object]]:
    listed = await jetstream.call("STREAM.LIST")
    return {info["config"]["name"]: info["config"] for info in listed["streams"]}


async def test_all_streams_are_made_with_every_setting_we_ask_for(jetstream: JetStream):
    await provision(jetstream, SPECS, "r1")

    configs = await _configs(jetstream)
    assert set(configs) == {spec.name for spec in SPECS}
    assert {
        spec.name: provisioning.differences(spec.settings("r1"), configs[spec.name])
        for spec in SPECS
    } == {spec.name: {} for spec in SPECS}


async def test_the_events_of_a_live_stream_are_gone_when_their_time_is_over(
    server: EmbeddedServer,
):
    timing = Timing(stream_retention_seconds=1.0)
    live = [spec for spec in stream_specs((), timing) if spec.name == LIVE]
    async with connect(NatsAddress(urls=(server.url,), name="test")) as transport:
        jetstream = JetStream(transport)
        await provision(jetstream, live, "r1")
        await store(transport, "cb.acme.stream.e1", b"{}")

        assert await _messages(jetstream) == 1
        with anyio.fail_after(10 * PATIENCE):
            while await _messages(jetstream):
                await anyio.sleep(0.1)


async def _messages(jetstream: JetStream) -> int:
    info = await jetstream.call(f"STREAM.INFO.{LIVE}")
    return info["state"]["messages"]


async def test_several_processes_may_provision_at_once_and_again(jetstream: JetStream):
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(provision, jetstream, SPECS, "r1")
    before = await _configs(jetstream)

    await provision(jetstream, SPECS, "r1")

    assert await _configs(jetstream) == before


async def test_a_limit_that_differs_is_reported_and_left_alone(jetstream: JetStream):
    await provision(jetstream, [replace(JOURNAL, max_bytes=1024**2)], "r1")

    with structlog.testing.capture_logs() as lines:
        await provision(jetstream, [JOURNAL], "r1")

    assert [(line["event"], line["differences"]) for line in lines] == [
        ("streams.drift", {"max_bytes": (1024**2, JOURNAL.max_bytes)})
    ]
    assert (await _configs(jetstream))[JOURNAL.name]["max_bytes"] == 1024**2


PLAIN = replace(JOURNAL, states=False)
"""The server writes no atomic batches, as states need them, into a stream that it syncs late."""


@pytest.mark.parametrize(
    ("standing", "differences"),
    [
        (replace(PLAIN, refuse_when_full=False), {"discard": ("old", "new")}),
        (replace(PLAIN, lazy=True), {"persist_mode": ("async", "default")}),
        (replace(PLAIN, subjects=("a.b",)), {"subjects": (["a.b"], sorted(PLAIN.subjects))}),
    ],
)
async def test_a_difference_that_breaks_a_promise_is_an_error(
    jetstream: JetStream, standing: StreamSpec, differences: dict[str, tuple[object, object]]
):
    await provision(jetstream, [standing], "r1")
    before = await _configs(jetstream)

    with pytest.raises(DriftError) as caught:
        await provision(jetstream, [PLAIN], "r1")

    assert (caught.value.stream, caught.value.differences) == (PLAIN.name, differences)
    assert await _configs(jetstream) == before


async def test_what_the_server_refuses_is_an_error_of_configuration(jetstream: JetStream):
    with pytest.raises(ConfigError, match="insufficient storage"):
        await provision(jetstream, [replace(JOURNAL, max_bytes=10**15)], "r1")
    with pytest.raises(ConfigError, match="non-clustered"):
        await provision(jetstream, [JOURNAL], "r3")


async def test_without_an_answer_provisioning_ends_in_time(
    server: EmbeddedServer, jetstream: JetStream, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(provisioning, "PROVISION_SECONDS", 0.2)
    await server.kill()

    with anyio.fail_after(10), pytest.raises(UnavailableError):
        await provision(jetstream, SPECS, "r1")


async def test_after_a_restart_lost_streams_stand_before_anybody_is_told(own_nats: NatsWorld):
    seen: list[int] = []

    async with own_nats.process() as bus:

        async def look() -> None:
            info = await bus.jetstream.stream_info(EVENTS)
            seen.append(info["state"]["messages"])

        bus.nats.on_reconnect(look)
        await bus.jetstream.call(f"STREAM.DELETE.{EVENTS}")
        await own_nats.restart()
        await until(lambda: bool(seen))

    assert seen == [0]

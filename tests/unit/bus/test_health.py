"""The HTTP listener of a process, asked by a real client and by rude ones."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress

import anyio
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigError
from bus.runtime import health
from bus.runtime.health import listening
from bus.telemetry import metrics
from tests.lag import TOLERATED_SECONDS, measured


@pytest.fixture
async def missing() -> list[str]:
    return []


@pytest.fixture
async def port(missing: list[str]) -> AsyncIterator[int]:
    with anyio.fail_after(20):
        async with listening(lambda: missing) as taken:
            yield taken


@pytest.fixture
async def client(port: int) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=5) as asking:
        yield asking


async def test_metrics_are_exposed_in_the_format_of_prometheus(client: httpx.AsyncClient):
    metrics.DEAD_LETTERS.at("worker").inc()
    answer = await client.get("/metrics?name[]=x")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == metrics.CONTENT_TYPE
    assert 'callboard_dead_letters_total{source="worker"}' in answer.text


async def test_a_process_that_turns_is_alive_even_when_it_is_not_ready(
    client: httpx.AsyncClient, missing: list[str]
):
    missing.append("agents is not subscribed")
    assert (await client.get("/livez")).status_code == 200


async def test_readiness_follows_what_the_process_lacks(
    client: httpx.AsyncClient, missing: list[str]
):
    missing.extend(["agents is not subscribed", "no bus"])
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (503, "agents is not subscribed\nno bus\n")
    missing.clear()
    answer = await client.get("/readyz")
    assert (answer.status_code, answer.text) == (200, "ok\n")


async def test_head_has_the_length_and_not_the_body(client: httpx.AsyncClient):
    answer = await client.head("/livez")
    assert (answer.status_code, answer.headers["content-length"], answer.text) == (200, "3", "")


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient):
    assert (await client.get("/")).status_code == 404
    assert (await client.post("/metrics", content=b"x")).status_code == 405


@pytest.mark.parametrize(
    "rude",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / SMTP\r\n\r\n",
        b"x" * 9000,
    ],
    ids=["nothing", "tls", "no target", "no http", "no end"],
)
async def test_garbage_is_answered_with_400_and_the_next_client_is_served(
    port: int, client: httpx.AsyncClient, rude: bytes
):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(rude)
        assert (await stream.receive()).startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert (await client.get("/livez")).status_code == 200


async def test_a_client_that_hangs_up_disturbs_nobody(port: int, client: httpx.AsyncClient):
    for sent in (b"", b"GET /metrics HTTP/1.1\r\n"):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            if sent:
                await stream.send(sent)
    assert (await client.get("/livez")).status_code == 200


@pytest.mark.parametrize("bound", ["HEAD_SECONDS", "REQUEST_SECONDS"])
@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\n"])
async def test_a_silent_client_is_cut_off(
    port: int, monkeypatch: pytest.MonkeyPatch, bound: str, sent: bytes
):
    monkeypatch.setattr(health, bound, 0.01)
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        if sent:
            await stream.send(sent)
        with pytest.raises(anyio.EndOfStream):
            await stream.receive()


async def test_of_too_many_connections_the_idlest_is_closed(
    port: int, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 2)
    async with (
        await anyio.connect_tcp("127.0.0.1", port) as first,
        await anyio.connect_tcp("127.0.0.1", port) as second,
    ):
        await first.send(b"GET /livez ")
        assert (await client.get("/livez")).status_code == 200
        with pytest.raises((anyio.EndOfStream, anyio.BrokenResourceError)):
            await second.receive()
        await first.send(b"HTTP/1.1\r\n\r\n")
        assert (await first.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\n"], ids=["idle", "slow"])
async def test_a_probe_gets_in_past_any_number_of_connections_that_say_nothing(
    port: int, client: httpx.AsyncClient, sent: bytes
):
    async with AsyncExitStack() as opened:
        for _ in range(300):
            stream = await opened.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            if sent:
                with suppress(anyio.BrokenResourceError):
                    await stream.send(sent)
        for _ in range(3):
            with anyio.fail_after(health.HEAD_SECONDS / 2):
                assert (await client.get("/livez")).status_code == 200


PROBE_SECONDS = 5.0
"""What a probe waits at most, on a machine that does other things as well."""

FLOODER = """
import socket, sys, time
port, sent, ends = int(sys.argv[1]), sys.argv[2].encode(), time.monotonic() + 20
opened, number = [], 0
while time.monotonic() < ends:
    one = socket.socket()
    try:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        one.settimeout(0.2)
        one.connect(("127.0.0.1", port))
        one.send(sent)
    except OSError:
        pass
    opened.append(one)
    if len(opened) > 800:
        opened.pop(0).close()
    number += 1
    if number == 600:
        print("flooding", flush=True)
"""
"""Opens connections as fast as it can, and begins a request on each."""


async def test_a_probe_that_is_slow_is_not_pushed_out_by_the_hundreds_that_come_behind_it(
    port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(health, "HEAD_SECONDS", 30)
    monkeypatch.setattr(health, "REQUEST_SECONDS", 30)
    async with await anyio.connect_tcp("127.0.0.1", port) as probe, AsyncExitStack() as opened:
        for _ in range(400):
            stream = await opened.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
            with suppress(anyio.BrokenResourceError):
                await stream.send(b"GET /livez")
        await probe.send(b"GET /livez HTTP/1.1\r\n\r\n")
        assert (await probe.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_probe_is_answered_in_time_while_half_open_connections_flood_in(
    port: int, client: httpx.AsyncClient
):
    sent = "GET /livez HTTP/1.1\r\n"
    flooder = await anyio.open_process([sys.executable, "-c", FLOODER, str(port), sent])
    try:
        assert flooder.stdout is not None
        await flooder.stdout.receive()
        async with measured() as lag:
            for _ in range(5):
                with anyio.fail_after(PROBE_SECONDS):
                    assert (await client.get("/livez")).status_code == 200
        assert lag.longest < TOLERATED_SECONDS
    finally:
        flooder.kill()
        await flooder.aclose()


async def test_a_crowd_of_one_peer_costs_no_other_its_connection(
    monkeypatch: pytest.MonkeyPatch, missing: list[str]
):
    monkeypatch.setattr(health, "MOST_CONNECTIONS", 4)
    async with listening(lambda: missing, host="0.0.0.0") as port, AsyncExitStack() as opened:  # noqa: S104
        alone = await anyio.connect_tcp("127.0.0.1", port, local_host="127.0.0.2")
        await opened.enter_async_context(alone)
        for _ in range(12):
            await opened.enter_async_context(await anyio.connect_tcp("127.0.0.1", port))
        await alone.send(b"GET /livez HTTP/1.1\r\n\r\n")
        assert (await alone.receive()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_an_answer_that_is_read_slowly_arrives_whole(
    port: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(metrics, "render", lambda: b"x" * 20_000_000)
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(b"GET /metrics HTTP/1.1\r\n\r\n")
        await anyio.sleep(0.05)
        received = 0
        with suppress(anyio.EndOfStream):
            while True:
                received += len(await stream.receive())
    assert received > 20_000_000


async def test_a_flood_of_bytes_is_not_read(port: int, client: httpx.AsyncClient):
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        with pytest.raises(anyio.BrokenResourceError):
            await stream.send(b"A" * (64 * 2**20))
    assert (await client.get("/livez")).status_code == 200


async def test_a_taken_port_refuses_to_start(port: int):
    with pytest.raises(ConfigError) as refused:
        async with listening(list, port=port):
            pass
    assert refused.value.name == "CALLBOARD_METRICS_PORT"


@given(st.binary(max_size=200))
def test_no_bytes_break_the_listener(request: bytes):
    _, answer = health._Listener(list)._answer(request)
    assert health._encode(answer, with_body=True).startswith(b"HTTP/1.1 ")

"""The transports of MCP against servers that break, hang, lie and restart."""

import asyncio
import json
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from actors.mcp_pool.adapters import pipe
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.processes import running
from actors.mcp_pool.adapters.session import McpSession
from actors.mcp_pool.core.upstream import CallPlan, Lane, ServerAddress, UpstreamError
from bus.http import HttpClient
from bus.security.egress import Egress
from bus.tasks import loop_time
from schemas.tools import ToolResult, ToolText
from tests.mcp.fake import FakeMcpServer, fake_server, tool

pytestmark = pytest.mark.anyio

STDIO = (sys.executable, "-m", "tests.mcp.stdio_server")
LOST = (404, 400, 503, -32001, -32600)


class Opener:
    """Opens upstreams, and tells what is still open in the end."""

    def __init__(self, lanes: Lanes, client: HttpClient) -> None:
        self._lanes = lanes
        self.client = client
        self.made: list[McpSession] = []

    async def __call__(self, url: str = "", kind: Lane = "http", **more: Any) -> McpSession:
        command = STDIO if kind == "stdio" else ()
        address = ServerAddress("fake", kind, url=url, command=command, **more)
        upstream = self._lanes(address)
        self.made.append(upstream)
        await upstream.open(soon(20))
        return upstream

    def leaked(self) -> dict[str, int]:
        """Return what was opened and not closed."""
        kinds = ("sessions", "tasks", "processes")
        return {
            kind: sum(each.counters.open().get(kind, 0) for each in self.made) for kind in kinds
        }


@asynccontextmanager
async def lanes() -> AsyncGenerator[Opener]:
    async with (
        HttpClient(Egress(allow_loopback=True)) as client,
        anyio.create_task_group() as tasks,
    ):
        opener = Opener(Lanes(tasks, client), client)
        try:
            yield opener
            for each in opener.made:
                await each.close()
            with anyio.fail_after(10):
                while any(opener.leaked().values()):
                    await anyio.sleep(0.01)
        finally:
            tasks.cancel_scope.cancel()


def soon(seconds: float = 10) -> float:
    return loop_time() + seconds


def plan(name: str = "echo", seconds: float = 10, **arguments: Any) -> CallPlan:
    return CallPlan(name, arguments, soon(seconds))


def text(result: ToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, ToolText)
    return content.text


async def fault(upstream: McpSession, asked: CallPlan) -> UpstreamError:
    with pytest.raises(UpstreamError) as caught:
        await upstream.call(asked)
    return caught.value


@pytest.fixture(params=[False, True], ids=["sessions", "stateless"])
async def server(request: pytest.FixtureRequest) -> AsyncGenerator[FakeMcpServer]:
    async with fake_server(modern=request.param) as fake:
        yield fake


async def test_a_server_is_opened_in_its_own_revision_and_called(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        listed = await upstream.list_tools(soon())
        assert "echo" in [each.tool for each in listed.items]
        assert listed.ttl == (5.0 if server.modern else None)
        assert json.loads(text(await upstream.call(plan(a=1)))) == {"a": 1}
        await upstream.probe(soon())
    assert server.counts["DELETE"] == (0 if server.modern else 1)
    assert not server.sessions


async def test_progress_comes_before_the_answer(server: FakeMcpServer):
    told: list[Any] = []
    async with lanes() as opened:
        upstream = await opened(server.url)
        asked = plan("progress")._replace(progress=lambda *each: told.append(each))
        assert text(await upstream.call(asked)) == "done"
    assert told == [(float(step), 3.0, f"step {step}") for step in (1, 2, 3)]


async def test_a_cut_connection_among_fifty_costs_its_own_call_alone(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        done: list[str] = []
        lost: list[UpstreamError] = []

        async def call() -> None:
            done.append(text(await upstream.call(plan("slow", seconds=20))))

        async with anyio.create_task_group() as tasks:
            for _ in range(50):
                tasks.start_soon(call)
            lost.append(await fault(upstream, plan("cut")))
        assert [(each.outcome, each.sent, each.session_lost) for each in lost] == [
            ("outcome_unknown", True, False)
        ]
        assert len(done) == 50
        assert server.counts["cut"] == 1


async def test_an_answer_to_another_request_is_an_error_of_this_call_alone(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        assert (await fault(upstream, plan("wrong_id"))).outcome == "protocol_error"
        assert text(await upstream.call(plan())) == "{}"


async def test_endless_progress_and_endless_results_are_cut_off(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        assert (await fault(upstream, plan("endless", 60))).outcome == "protocol_error"
        huge = await fault(upstream, plan("big", bytes=100_000_000))
        assert huge.outcome == "protocol_error"
        cut = await upstream.call(plan("big", bytes=2_000_000))
        assert (cut.truncated, cut.bytes, len(text(cut))) == (True, 2_000_000, 256 * 1024)


async def test_a_deadline_is_kept_and_told(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        late = await fault(upstream, plan("hang", 0.1))
        assert (late.outcome, late.sent) == ("deadline", True)
        assert text(await upstream.call(plan())) == "{}"
    # Only where closing the exchange does not say it, a notice does.
    assert server.counts["notifications/cancelled"] == (0 if server.modern else 1)


async def test_a_restart_while_idle_costs_at_most_one_opening(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        await upstream.call(plan())
        server.restart()
        await anyio.sleep(0.05)
        if server.modern:
            assert text(await upstream.call(plan())) == "{}"
            return
        lost = await fault(upstream, plan())
        assert (lost.outcome, lost.session_lost) == ("rejected", True)
        assert server.counts["echo"] == 1
        assert text(await (await opened(server.url)).call(plan())) == "{}"


async def test_a_restart_while_busy_types_every_call_under_way(server: FakeMcpServer):
    async with lanes() as opened:
        upstream = await opened(server.url)
        faults: list[UpstreamError] = []

        async def call() -> None:
            faults.append(await fault(upstream, plan("hang", 20)))

        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(call)
            with anyio.fail_after(10):
                while server.counts["hang"] < 10:
                    await anyio.sleep(0.01)
            server.restart()
        assert {each.outcome for each in faults} == {"outcome_unknown"}
        assert len(faults) == 10


@pytest.mark.parametrize("spelling", LOST)
async def test_a_lost_session_is_known_in_every_spelling(spelling: int):
    async with fake_server(lost=spelling) as fake, lanes() as opened:
        upstream = await opened(fake.url, era="2025")
        fake.sessions.clear()
        lost = await fault(upstream, plan())
        assert (lost.outcome, lost.session_lost) == ("rejected", True)
        assert fake.counts["echo"] == 0


async def test_a_stream_that_breaks_is_resumed_behind_its_last_event():
    async with fake_server() as fake, lanes() as opened:
        upstream = await opened(fake.url)
        assert text(await upstream.call(plan("resume"))) == "resumed"
        assert fake.counts["resume"] == 1


async def test_a_stateless_stream_that_breaks_loses_the_request():
    async with fake_server(modern=True) as fake, lanes() as opened:
        upstream = await opened(fake.url)
        assert (await fault(upstream, plan("resume"))).outcome == "outcome_unknown"
        assert fake.counts["GET"] == 0


async def test_a_changed_list_is_told_while_somebody_listens(server: FakeMcpServer):
    async with lanes() as opened, anyio.create_task_group() as tasks:
        upstream = await opened(server.url)
        heard = anyio.Event()
        kinds: list[str] = []

        def changed(kind: str) -> None:
            kinds.append(kind)
            heard.set()

        tasks.start_soon(upstream.listen, changed)
        server.changed.set()
        with anyio.fail_after(5):
            await heard.wait()
        assert kinds[0] == "tools"
        tasks.cancel_scope.cancel()


async def test_a_stateless_call_says_in_headers_what_it_says_in_its_body():
    region = {"type": "string", "x-mcp-header": "Region"}
    marked = {"type": "object", "properties": {"region": region}}
    async with fake_server(modern=True) as fake, lanes() as opened:
        fake.tools.append(tool("marked", inputSchema=marked))
        upstream = await opened(fake.url)
        await upstream.list_tools(soon())
        key = plan("marked", region="ü")._replace(idempotency_key="k1", meta={"traceparent": "t"})
        await upstream.call(key)
        asked = fake.seen[-1]
        assert asked.headers["mcp-param-region"] == "=?base64?w7w=?="
        assert asked.headers["mcp-name"] == "marked"
        assert asked.headers["idempotency-key"] == "k1"
        meta = asked.body["params"]["_meta"]
        assert meta["io.modelcontextprotocol/protocolVersion"] == "2026-07-28"
        assert (meta["traceparent"], meta["callboard/idempotencyKey"]) == ("t", "k1")


@pytest.mark.parametrize("rounds", [3, 99])
async def test_a_call_that_asks_for_input_is_sent_again_within_bounds(rounds: int):
    question = {"method": "elicitation/create", "params": {}}
    more = {
        "resultType": "input_required",
        "inputRequests": {"q": question},
        "requestState": "opaque",
    }
    async with fake_server(modern=True) as fake, lanes() as opened:

        async def asking(asked: Any) -> dict[str, Any]:
            if fake.counts["ask"] <= rounds:
                return more
            params = asked.body["params"]
            assert params["requestState"] == "opaque"
            return {"content": [{"type": "text", "text": str(params["inputResponses"])}]}

        fake.answers["ask"] = asking
        upstream = await opened(fake.url)
        if rounds > 10:
            assert (await fault(upstream, plan("ask"))).outcome == "protocol_error"
            assert fake.counts["ask"] <= 12
        else:
            assert text(await upstream.call(plan("ask"))) == "{'q': {'action': 'cancel'}}"


async def test_three_hundred_cancelled_calls_leave_nothing_behind(server: FakeMcpServer):
    chance = random.Random(7)
    async with lanes() as opened:
        upstream = await opened(server.url)

        async def call() -> None:
            name = chance.choice(["echo", "hang", "slow", "progress"])
            with anyio.move_on_after(chance.random() * 0.2):
                await upstream.call(plan(name))

        async with anyio.create_task_group() as tasks:
            for _ in range(300):
                tasks.start_soon(call)
        assert text(await upstream.call(plan())) == "{}"
        await upstream.close()
        await opened.client.aclose()
        assert opened.client.opened == opened.client.closed
        with anyio.fail_after(5):
            while server.sockets:
                await anyio.sleep(0.01)
    assert not server.sessions


# Behind standard input and output


async def test_a_process_is_called_and_gets_no_secret_of_the_operator(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("OPERATORS_SECRET", "hidden")
    async with lanes() as opened:
        upstream = await opened(kind="stdio", env={"NAMED": "given"})
        environ = json.loads(text(await upstream.call(plan("environ"))))
        assert environ["NAMED"] == "given"
        assert "OPERATORS_SECRET" not in environ
        assert "PATH" in environ


async def test_a_process_that_ends_types_its_calls_and_another_one_serves():
    async with lanes() as opened:
        upstream = await opened(kind="stdio")
        lost = await fault(upstream, plan("exit"))
        assert (lost.outcome, lost.session_lost) == ("outcome_unknown", True)
        assert "code 3" in str(lost)
        after = await fault(upstream, plan())
        assert (after.outcome, after.session_lost, after.sent) == ("not_sent", True, False)
        assert "pid" in text(await (await opened(kind="stdio")).call(plan()))


async def test_a_killed_process_costs_no_more_than_its_calls():
    async with lanes() as opened:
        upstream, other = await opened(kind="stdio"), await opened(kind="stdio")
        pid = json.loads(text(await upstream.call(plan())))["pid"]
        loop = asyncio.get_running_loop()
        loop.call_later(0.1, os.kill, pid, signal.SIGKILL)
        assert (await fault(upstream, plan("hang"))).outcome == "outcome_unknown"
        assert "pid" in text(await other.call(plan()))


async def test_a_stopped_process_is_left_at_the_deadline_and_killed(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(pipe, "ALIVE_SECONDS", 0.2)
    async with lanes() as opened:
        upstream = await opened(kind="stdio")
        pid = json.loads(text(await upstream.call(plan())))["pid"]
        os.kill(pid, signal.SIGSTOP)
        assert (await fault(upstream, plan(seconds=0.2))).outcome == "deadline"
        with anyio.fail_after(5):
            while any(each.pid == pid for each in running()):
                await anyio.sleep(0.01)
        assert (await fault(upstream, plan())).session_lost


async def test_a_slow_tool_does_not_cost_a_process_its_life(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipe, "ALIVE_SECONDS", 1.0)
    async with lanes() as opened:
        upstream = await opened(kind="stdio")
        assert (await fault(upstream, plan("hang", 0.1))).outcome == "deadline"
        await anyio.sleep(1.2)
        assert "pid" in text(await upstream.call(plan()))


async def test_what_a_process_has_started_ends_with_it():
    async with lanes() as opened:
        upstream = await opened(kind="stdio")
        child = int(text(await upstream.call(plan("child"))))
        assert any(each.pid == child for each in running())
        await upstream.close()
        assert not any(each.pid == child for each in running())


async def test_a_result_that_is_too_large_for_a_line_costs_its_call_alone():
    async with lanes() as opened:
        upstream = await opened(kind="stdio")
        huge = await fault(upstream, plan("big", megabytes=20))
        assert huge.outcome == "protocol_error"
        assert "pid" in text(await upstream.call(plan()))


async def test_a_command_that_does_not_exist_is_told():
    async with lanes() as opened:
        address = ServerAddress("none", "stdio", command=("/nonexistent/server",))
        upstream = opened._lanes(address)
        with pytest.raises(UpstreamError, match="cannot be started") as caught:
            await upstream.open(soon())
        assert caught.value.outcome == "not_sent"


async def test_cancelled_calls_and_openings_leave_no_process():
    chance = random.Random(3)
    before = set(running())
    async with lanes() as opened:
        for _ in range(4):
            with anyio.move_on_after(chance.random() * 0.3):
                await opened(kind="stdio")
        upstream = await opened(kind="stdio")

        async def call() -> None:
            with anyio.move_on_after(chance.random() * 0.1):
                await upstream.call(plan(chance.choice(["echo", "hang"])))

        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(call)
        assert "pid" in text(await upstream.call(plan()))
    ours = {
        each
        for each, lineage in running().items()
        if each not in before and lineage.parent == os.getpid()
    }
    assert not ours

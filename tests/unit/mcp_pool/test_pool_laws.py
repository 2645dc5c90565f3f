"""The laws of a pool over a server that hangs, dies, restarts and loses sessions, in virtual time.

What is asserted are counts, outcomes and virtual seconds; no wait is real.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from actors.mcp_pool.adapters.meter import CallMark
from actors.mcp_pool.core.upstream import UpstreamError
from actors.mcp_pool.flow.pool import Requester
from bus.tasks import loop_time
from schemas.tool_servers import ServerLimits
from schemas.tools import ToolHints, ToolResult
from tests.fake_upstream import FakeServer
from tests.pools import Pooled, pooled, spec
from tests.virtual import VIRTUAL_TIME, Backend

REPEATABLE = ToolHints(read_only=True)


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


async def gathered(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """Make calls side by side and return what each has brought, in their order."""
    found: dict[int, Any] = {}

    async def one(place: int, call: Callable[[], Awaitable[Any]]) -> None:
        found[place] = await call()

    async with anyio.create_task_group() as tasks:
        for place, call in enumerate(calls):
            tasks.start_soon(one, place, call)
    return [found[place] for place in range(len(calls))]


def outcome(result: Any) -> str:
    return result.outcome if isinstance(result, UpstreamError) else "ok"


def outcomes(results: list[Any]) -> Counter[str]:
    return Counter(map(outcome, results))


def zero(ledger: dict[str, int]) -> bool:
    return not any(ledger.values())


async def test_a_call_brings_its_result_over_one_session():
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool:
        results = await gathered(*(partial(pool.call, "echo", n) for n in range(20)))

    assert [result.content[0].text for result in results] == [f"echo {n}" for n in range(20)]
    assert server.opens == 1
    assert zero(server.open_now())
    assert zero(pool.ledger.state().leaked)


async def test_a_hung_server_costs_its_own_places_and_nobody_elses_time():
    ill, well, hung = FakeServer("ill"), FakeServer("well"), list[Any]()
    limits = ServerLimits(concurrency=32, queue=256)
    async with (
        pooled(ill.connect, spec("ill", limits=limits)) as bad,
        pooled(well.connect, spec("well", limits=limits)) as good,
        anyio.create_task_group() as tasks,
    ):

        async def hang(number: int) -> None:
            mark = CallMark()
            result = await bad.call("hang", number, mark=mark, seconds=30)
            hung.append((outcome(result), mark.is_sent, result.sent))

        for number in range(120):
            tasks.start_soon(hang, number)
        await anyio.sleep(1)
        began = loop_time()
        results = await gathered(*(partial(good.call, "echo", n, seconds=1) for n in range(50)))

        assert outcomes(results) == {"ok": 50}
        # Two batches of 32, and one opening: as if nobody hung.
        assert loop_time() - began < 0.1
    assert Counter(hung) == {("deadline", True, True): 32, ("deadline", False, False): 88}
    assert ill.most_at_once == 32


async def test_what_waits_is_bounded_and_refused_unsent():
    server = FakeServer()
    limits = ServerLimits(concurrency=2, queue=3)
    async with pooled(server.connect, spec(limits=limits)) as pool:
        results = await gathered(*(partial(pool.call, "slow", n) for n in range(10)))

    assert outcomes(results) == {"ok": 5, "overloaded": 5}
    assert all(not each.sent for each in results if outcome(each) == "overloaded")
    assert server.most_at_once == 2


async def test_agents_take_turns_in_the_queue():
    server = FakeServer()
    ended: list[str] = []
    async with pooled(server.connect, spec(limits=ServerLimits(concurrency=1, queue=100))) as pool:

        async def one(who: str, number: int) -> None:
            await pool.call("echo", number, who=who, seconds=60)
            ended.append(who)

        await gathered(
            *(partial(one, "many", n) for n in range(20)), *(partial(one, "few", n) for n in (1, 2))
        )

    assert [place for place, who in enumerate(ended) if who == "few"][-1] <= 5


@pytest.mark.parametrize("stateless", [True, False])
async def test_a_server_that_restarts_while_idle_costs_nothing_and_one_opening(*, stateless: bool):
    server = FakeServer(stateless=stateless)
    async with pooled(server.connect, spec(sharing="shared")) as pool:
        await pool.call("echo")
        server.kill()
        server.start()
        results = await gathered(
            *(partial(pool.call, "echo", n, once=True, hints=ToolHints()) for n in range(50))
        )

    assert outcomes(results) == {"ok": 50}
    assert server.opens == (1 if stateless else 2)
    assert set(server.effects.values()) == {1, 2}  # n = 0 was called twice


async def test_a_server_that_is_killed_busy_leaves_typed_outcomes_and_one_opening():
    server, results = FakeServer(stateless=False), dict[int, Any]()
    async with (
        pooled(server.connect, spec(sharing="shared", limits=ServerLimits(concurrency=60))) as pool,
        anyio.create_task_group() as tasks,
    ):
        await pool.call("echo")

        async def one(number: int, hints: ToolHints) -> None:
            results[number] = await pool.call("slow", number, hints=hints)

        for number in range(50):
            hints = REPEATABLE if number % 2 else ToolHints()
            tasks.start_soon(one, number, hints)
        await anyio.sleep(0.5)
        server.kill()
        server.start()

    odd = [results[n] for n in range(50) if n % 2]
    even = [results[n] for n in range(50) if not n % 2]
    assert outcomes(odd) == {"ok": 25}
    assert outcomes(even) == {"outcome_unknown": 25}
    assert server.opens == 2
    assert all(server.effects[n] == 1 for n in range(2, 50, 2))
    assert zero(server.open_now())


async def test_opening_is_done_once_for_all_who_wait_and_goes_on_when_one_leaves():
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool:
        with anyio.move_on_after(0.005):
            await pool.call("echo")
        results = await gathered(*(partial(pool.call, "echo", n) for n in range(20)))

    assert outcomes(results) == {"ok": 20}
    assert server.opens == 1


async def test_an_opening_that_hangs_ends_and_the_next_one_is_tried():
    server = FakeServer()
    server.hangs_opening = True
    async with pooled(server.connect, spec(limits=ServerLimits(open_seconds=2))) as pool:
        hung = await pool.call("echo", seconds=3)
        server.hangs_opening = False
        well = await pool.call("echo", seconds=3)

    assert outcome(hung) in {"not_sent", "deadline"}
    assert not hung.sent
    assert outcome(well) == "ok"


async def test_a_circuit_opens_lets_nobody_wait_and_closes_by_a_sign_of_life():
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool, anyio.create_task_group() as tasks:
        tasks.start_soon(ticking, pool)
        server.kill()
        for number in range(5):
            await pool.call("echo", number, seconds=1)
        began = loop_time()
        refused = await pool.call("echo", seconds=60)
        assert outcome(refused) == "circuit_open"
        assert loop_time() == began
        assert refused.retry_after > 0
        opens = server.opens
        await anyio.sleep(100)
        # Only probes have tried it: fewer and fewer, and one at a time.
        assert server.opens - opens <= 6
        server.start()
        await anyio.sleep(120)
        before = sum(server.effects.values())
        assert outcome(await pool.call("echo")) == "ok"
        assert before == 0
        assert server.probes >= 1
        tasks.cancel_scope.cancel()


async def ticking(pool: Pooled) -> None:
    while True:
        pool.pool.tick(loop_time())
        await anyio.sleep(0.5)


async def test_one_replica_down_leaves_the_others_and_no_call_fails():
    servers = [FakeServer(), FakeServer(), FakeServer()]
    servers[1].kill()
    by_url = {f"http://fake.{n}/mcp": each for n, each in enumerate(servers)}
    of = spec(replicas=3, strategy="round_robin")
    async with pooled(lambda where, ok: by_url[where.url].connect(where, ok), of) as pool:
        results = [await pool.call("echo", n) for n in range(30)]

    assert outcomes(results) == {"ok": 30}
    assert sum(servers[0].effects.values()) + sum(servers[2].effects.values()) == 30
    assert servers[1].opens <= 6


async def test_sessions_are_bounded_and_those_of_others_are_given_up_when_they_are_idle():
    server = FakeServer(stateless=False)
    limits = ServerLimits(sessions=3, concurrency=50)
    async with pooled(server.connect, spec(limits=limits)) as pool:
        results = await gathered(
            *(partial(pool.call, "echo", n, who=f"agent{n}", seconds=60) for n in range(12))
        )
        assert server.open_now()["sessions"] <= 3

    assert outcomes(results) == {"ok": 12}
    assert server.opens == 12


async def test_an_idle_session_is_probed_then_closed_and_a_silent_one_is_left():
    server = FakeServer(stateless=False)
    limits = ServerLimits(idle_seconds=100)
    async with (
        pooled(server.connect, spec(limits=limits)) as pool,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(ticking, pool)
        await pool.call("echo")
        await anyio.sleep(50)
        assert server.probes == 1
        assert server.open_now()["sessions"] == 1
        await anyio.sleep(60)
        assert server.open_now()["sessions"] == 0

        await pool.call("echo")
        server.hangs_opening = True
        await anyio.sleep(50)
        assert server.open_now()["sessions"] == 0
        tasks.cancel_scope.cancel()


async def test_a_session_that_answers_nothing_is_left_after_a_deadline():
    server = FakeServer(stateless=False)
    async with pooled(server.connect, spec()) as pool:
        await pool.call("echo")
        server.hangs_opening = True  # so does the sign of life hang
        assert outcome(await pool.call("hang", seconds=1)) == "deadline"
        await anyio.sleep(10)
        server.hangs_opening = False
        assert outcome(await pool.call("echo")) == "ok"

    assert server.opens == 2


async def test_a_changed_list_is_told_once_and_an_unknown_tool_lists_anew():
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool:
        who = Requester("acme")
        await pool.pool.tools(who, loop_time() + 5)
        await pool.pool.tools(who, loop_time() + 5)
        assert server.listed == 1

        server.tools["new"] = ToolHints()
        found = await pool.pool.tool(who, "new", loop_time() + 5)
        assert found is not None
        assert server.listed == 2
        assert len(pool.changes) == 1

        server.tools["newer"] = ToolHints()
        for changed in list(server.listeners):
            changed("tools")
        await anyio.sleep(0.5)
        assert len(pool.changes) == 2
        assert await pool.pool.tool(who, "none", loop_time() + 5) is None
        listed = server.listed
        for _ in range(20):
            await pool.pool.tool(who, "none", loop_time() + 5)
        assert server.listed == listed


@pytest.mark.parametrize("seed", range(8))
async def test_whatever_is_cancelled_or_killed_nothing_leaks_and_no_effect_is_silent(seed: int):
    """Of 250 calls each; a counting server is the judge."""
    lot = random.Random(seed)
    server = FakeServer(stateless=lot.random() < 0.5)
    ended: dict[int, Any] = {}
    limits = ServerLimits(concurrency=16, queue=64, sessions=4, open_seconds=1)
    async with (
        pooled(server.connect, spec(limits=limits)) as pool,
        anyio.create_task_group() as all_calls,
    ):
        all_calls.start_soon(ticking, pool)

        async def one(number: int) -> None:
            tool = lot.choice(["echo", "slow", "hang", "look"])
            repeat = server.tools[tool].may_repeat
            mark = CallMark()
            with anyio.move_on_after(lot.choice([0.001, 0.05, 0.5, 30])) as scope:
                result = await pool.call(
                    tool,
                    number,
                    who=f"agent{number % 6}",
                    seconds=lot.uniform(0.05, 3),
                    mark=mark,
                    hints=server.tools[tool],
                )
                ended[number] = (outcome(result), repeat, getattr(result, "sent", True))
            if scope.cancelled_caught:
                ended[number] = ("cancelled", repeat, mark.is_sent)

        for number in range(250):
            all_calls.start_soon(one, number)
            await anyio.sleep(lot.uniform(0, 0.05))
            if lot.random() < 0.05:
                server.kill()
                await anyio.sleep(lot.uniform(0, 0.3))
                server.start()
        await anyio.sleep(40)
        assert pool.pool.busy is False
        all_calls.cancel_scope.cancel()

    assert len(ended) == 250
    for number, (_, repeat, sent) in ended.items():
        if not repeat:
            assert server.effects[number] <= 1
        if server.effects[number]:
            assert sent, "what took effect was said not to be sent"
    assert zero(server.open_now())
    assert zero(pool.ledger.state().open)
    assert zero(pool.ledger.state().leaked)
    assert server.opens <= server.incarnation * 6 + 60


async def test_an_upstream_that_fails_as_nobody_foresaw_ends_its_own_call_alone(
    monkeypatch: pytest.MonkeyPatch,
):
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool:
        assert outcome(await pool.call("echo")) == "ok"

        async def fail(_: Any) -> ToolResult:
            raise RuntimeError("with a secret in it")

        monkeypatch.setattr(server.upstreams[0], "call", fail)
        failed = await pool.call("echo")
        monkeypatch.undo()
        assert (outcome(failed), failed.sent) == ("protocol_error", True)
        assert "secret" not in str(failed)
        assert outcome(await pool.call("echo")) == "ok"


@pytest.mark.parametrize("way", ["give_up", "close"])
@pytest.mark.parametrize("waits", [True, False])
async def test_a_session_that_is_being_opened_when_all_are_given_up_is_closed(
    way: str, *, waits: bool
):
    server = FakeServer()
    async with pooled(server.connect, spec()) as pool, anyio.create_task_group() as tasks:
        with anyio.CancelScope() as caller:

            async def ends() -> None:
                while not server.opens:
                    await anyio.lowlevel.checkpoint()
                if not waits:
                    caller.cancel()
                done = getattr(pool.pool, way)()
                if done is not None:
                    await done

            tasks.start_soon(ends)
            result = await pool.call("echo")
            assert outcome(result) == "ok"
        await anyio.sleep(0.1)
        assert not any(server.open_now().values())

"""A provider that fails in every way, many times over: nothing hangs, nothing is left behind."""

import anyio

from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.generation import Generator, Means
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from tests.attempts import config
from tests.faulty_provider import FAULTS, FaultyProvider
from tests.soak import Soak, now

REQUESTS = 12 * len(FAULTS)
AT_ONCE = 40


async def test_whatever_a_provider_does_every_attempt_ends_typed_and_leaves_nothing_behind():
    server = FaultyProvider()
    runner = await server.start()
    patience = config(idle_timeout=0.5, first_byte_timeout=0.7)
    tasks_before = len(anyio.get_running_tasks())
    try:
        async with open_providers(
            patience, Egress(allow_loopback=True), Secrets({}, {})
        ) as providers:
            soak = Soak(
                Generator(Means(providers=providers, clock=now)),
                f"http://127.0.0.1:{server.port}/v1",
            )
            await soak.run(range(REQUESTS), at_once=AT_ONCE)
        with anyio.fail_after(10):
            while server.open() or len(anyio.get_running_tasks()) > tasks_before:
                await anyio.sleep(0.01)
    finally:
        await runner.cleanup()

    assert soak.wrong == []
    assert {kind.partition(":")[0].partition(",")[0] for kind in soak.ended} == set(FAULTS)
    assert soak.ended["well: answered at 0"] == REQUESTS / len(FAULTS)

"""Hard budgets outlive what is stored of executions, and whoever does not know asks nobody less."""

from pathlib import Path

import anyio
import pytest

from bus.connection import NatsAddress, connect
from bus.errors import ProblemError
from bus.kv import Followed
from bus.kv.terms import EVERY_TENANT, TERMS, WHAT, KnownTerms, keep
from bus.streams.api import JetStream
from bus.streams.provision import provision
from schemas.terms import Restriction, Terms
from tests.fleet import running_fleet
from tests.prices import run, set_budget, with_prices
from tests.servers import local_server

HARD = Restriction(money=True)


@pytest.mark.timeout(120)
async def test_a_hard_budget_refuses_after_all_records_are_gone_and_agents_begin_anew(
    tmp_path: Path,
):
    async with running_fleet(tmp_path) as fleet, fleet.client("acme") as client:
        await with_prices(fleet)
        await client.script("greeter", "Hello.")
        await set_budget(client, 1000)
        await fleet.kill("agents.0")
        stream = client.nats.jetstream()
        await stream.purge_stream("EXECUTIONS")
        info = await stream.stream_info("KV_terms")
        await fleet.start("agents.1")
        await fleet.ready(3)

        record = await run(client, "greeter")

    assert record["error"]["code"] == "budget_exceeded"
    assert (info.config.max_age or 0, info.state.messages) == (0, 1)


async def test_a_process_knows_when_it_has_watched_the_bucket_to_its_end(tmp_path: Path):
    async with (
        local_server(tmp_path) as server,
        connect(NatsAddress(urls=server.urls, name="test")) as transport,
    ):
        jetstream, known = JetStream(transport), KnownTerms("one")
        bucket = TERMS.open(transport, jetstream)
        async with bucket.watch(EVERY_TENANT, known) as watch:
            followed = Followed(watch, WHAT, patience_seconds=0.2)
            assert followed.not_ready_reason() == f"{WHAT} not known yet"
            with pytest.raises(ProblemError) as refused:
                await followed.known()
            assert refused.value.problem.code == "unavailable"

            await provision(jetstream, [TERMS.spec()], server.durability)
            await keep(bucket, Terms(tenant="acme", revision=3, restrictions=[HARD]))
            with anyio.fail_after(15):
                while followed.not_ready_reason() is not None:
                    await anyio.sleep(0.02)
            await followed.known()
            assert known.of("acme").restrictions == [HARD]

            # A former owner of the account comes late.
            assert await keep(bucket, Terms(tenant="acme", revision=2)) == 3
            await watch.catch_up(timeout=15)
            assert known.of("acme").restrictions == [HARD]
            assert known.of("bolt").restrictions == []

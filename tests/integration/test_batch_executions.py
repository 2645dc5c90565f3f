"""Batches in a real fleet: asked for, waited for beyond a killed process, paid at half price."""

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import pytest

from bus.codec import decode, encode
from schemas.fleet import PROVIDERS_SUBJECT, ProviderStates
from tests.batch_provider import BatchProvider, batch_provider
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.servers import PATIENCE

SCRIPT = "from actors.cli.commands import main; main()"
KEY = "sk-batches-0123456789"
USED_PICO = 1000 * 150_000 + 100 * 600_000
"""What an answer of the provider costs at gpt-4o-mini's standard price."""


class Batching(NamedTuple):
    """A fleet, who asks it, and the provider."""

    fleet: RunningFleet
    client: PlainClient
    fake: BatchProvider

    @property
    def asked(self) -> Mapping[str, Any]:
        """A request in a batch."""
        where = {"base_url": self.fake.base_url, "secret": "local"}
        return {
            "provider": {"type": "openai", "model": "gpt-4o-mini", **where},
            "messages": [{"role": "user", "content": "Say ada"}],
            "batch": True,
        }


@pytest.fixture
async def batching(tmp_path: Path) -> AsyncGenerator[Batching]:
    async with _batching(tmp_path) as found:
        yield found


@asynccontextmanager
async def _batching(directory: Path) -> AsyncGenerator[Batching]:
    secrets = directory / "secrets.yaml"
    secrets.write_text("local: {env: BATCH_KEY, hosts: [127.0.0.1]}\n")
    async with AsyncExitStack() as stack:
        fake = await stack.enter_async_context(batch_provider())
        fleet = await stack.enter_async_context(
            running_fleet(directory, CALLBOARD_SECRETS_FILE=str(secrets), BATCH_KEY=KEY)
        )
        client = await stack.enter_async_context(fleet.client())
        yield Batching(fleet, client, fake)


async def test_a_batch_outlives_the_process_that_is_killed_and_is_made_and_paid_once(
    batching: Batching,
):
    fleet, client, fake = batching.fleet, batching.client, batching.fake
    with anyio.fail_after(90 * PATIENCE):
        handle = await client.ask("llm.generate", batching.asked)
        execution = handle["execution_id"]
        await fake.until(1)
        # The batch is in progress and its ticket is written once somebody looks at it.
        while not fake.looks:
            await anyio.sleep(0.05)
        await fleet.kill("streaming.0")
        fake.finish()
        await fleet.start("streaming.1")
        record = await client.ended(execution, timeout=60 * PATIENCE)

    assert (record["status"], record["text"]) == ("COMPLETED", "ADA")
    assert [len(batch.requests) for batch in fake.batches.values()] == [1]
    assert record["cost"] * 2 == USED_PICO
    assert {batch.key for batch in fake.batches.values()} == {f"Bearer {KEY}"}


async def test_the_command_says_that_it_waits_for_a_batch_and_prints_the_answer(
    batching: Batching,
):
    fleet, fake = batching.fleet, batching.fake
    where = ("--base-url", fake.base_url, "--secret", "local")
    command = (sys.executable, "-c", SCRIPT, "generate", "openai/gpt-4o-mini", "Say bob")
    run = partial(
        subprocess.run,
        [*command, "--batch", *where],
        env={**os.environ, "NATS_URL": fleet.server.url},
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * PATIENCE,
    )

    async def finish() -> None:
        await fake.until(1)
        fake.finish()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(finish)
        done = await anyio.to_thread.run_sync(run)
        assert (done.returncode, done.stdout) == (0, "BOB\n"), done.stderr
        assert done.stderr.startswith("In a batch, which may take a day: callboard stream ")

    answers = await batching.client.nats.subscribe("_cb.sys.providers.test")
    await batching.client.nats.publish(PROVIDERS_SUBJECT, reply="_cb.sys.providers.test")
    told = decode(ProviderStates, (await answers.next_msg(5 * PATIENCE)).data)
    assert "local" in told.secrets
    assert KEY.encode() not in encode(told)

"""Readers that stop reading: what waits for them lies in JetStream, and in nobody's memory."""

import hashlib
import os
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from bus.client.follow import BUFFER_BYTES
from tests.fleet import RunningFleet, running_fleet
from tests.providers_fake import Behaviour, begin, chunk, event, fake_provider
from tests.slow_readers import Read

READERS = 10
PIECES, PIECE = 64, 64 * 1024
TEXT = "".join(chr(ord("a") + number % 26) * PIECE for number in range(PIECES))


@pytest.fixture
async def fleet(tmp_path: Path) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(tmp_path) as fleet:
        yield fleet


def opened_by(go_on: anyio.Event) -> Behaviour:
    """Answer with one word, and with much more, but no end, when everybody has heard it.

    The end of an answer would bring its whole text once more, as one message.
    """

    async def respond(request: web.Request) -> web.StreamResponse:
        response = await begin(request, [event(chunk("Well. "))])
        await go_on.wait()
        for number in range(PIECES):
            await response.write(event(chunk(TEXT[number * PIECE : (number + 1) * PIECE])))
        return response

    return respond


def resident(process: int) -> int:
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
async def test_what_waits_for_readers_that_stopped_is_in_no_process(fleet: RunningFleet):
    go_on = anyio.Event()
    async with fake_provider(opened_by(go_on)) as fake, fleet.client() as client:
        provider = {"type": "custom", "model": "m", "base_url": fake.base_url}
        asked: dict[str, Any] = {
            "provider": provider,
            "messages": [{"role": "user", "content": "Speak."}],
            "limits": {"max_attempts": 1},
        }
        execution = (await client.ask("llm.generate", asked))["execution_id"]
        words = [fleet.server.urls[0], client.tenant, execution, str(READERS)]
        command = [sys.executable, "-m", "tests.slow_readers", *words]
        async with await anyio.open_process(command, stderr=None) as readers:
            assert readers.stdin is not None
            assert readers.stdout is not None
            with anyio.fail_after(50):
                assert await readers.stdout.receive() == b"stopped\n"
                before = resident(fleet.processes["streaming.0"].pid)
                go_on.set()
                record = await client.ended(execution, timeout=40)
                growth = resident(fleet.processes["streaming.0"].pid) - before
                await readers.stdin.send(b"go on\n")
                read = msgspec.json.decode(await readers.stdout.receive(), type=Read)

    assert record["status"] == "FAILED"
    assert read.texts == {hashlib.sha256(f"Well. {TEXT}".encode()).hexdigest(): READERS}
    assert read.held < READERS * 2 * BUFFER_BYTES
    assert growth < READERS * len(TEXT) * 0.75

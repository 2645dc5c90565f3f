"""The program in the README does what the README says, against a fleet of real processes."""

import subprocess
import sys
from pathlib import Path

import anyio
import msgspec
import nats

from tests.architecture.readme import blocks
from tests.integration.fleet import fleet

SECONDS = 40


async def test_a_program_without_anything_of_ours_runs_an_agent_and_prints_its_stream(
    tmp_path: Path,
):
    program = tmp_path / "client.py"
    program.write_text(blocks("python")[0], encoding="utf-8")
    agent = msgspec.yaml.decode(blocks("yaml")[0])
    async with fleet(tmp_path / "data", "agents", "streaming") as url:
        client = await nats.connect(url)
        await client.request("cb.local.agents.apply", msgspec.json.encode(agent), timeout=10)
        await client.close()
        with anyio.fail_after(SECONDS):
            run = await anyio.run_process(
                [sys.executable, program, agent["id"], "Good evening!", url],
                cwd=tmp_path,
                stderr=subprocess.STDOUT,
            )

    reply, *rest = run.stdout.decode().splitlines()
    assert set(msgspec.json.decode(reply)) == {"execution_id", "stream", "status"}
    assert rest[-1] == "[completed]"
    assert agent["provider"]["responses"][0] in rest

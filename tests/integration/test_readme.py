"""The program in the README does what the README says, against a fleet of real processes."""

import subprocess
import sys
from pathlib import Path

import anyio
import msgspec

from tests.architecture.readme import blocks
from tests.fleet import running_fleet

SECONDS = 40


async def test_a_program_without_anything_of_ours_runs_an_agent_and_prints_its_stream(
    tmp_path: Path,
):
    program = tmp_path / "client.py"
    program.write_text(blocks("python")[0], encoding="utf-8")
    agent = msgspec.yaml.decode(blocks("yaml")[0])
    async with running_fleet(tmp_path) as fleet:
        async with fleet.client() as client:
            assert (await client.ask("agents.apply", agent))["version"] == 1
        with anyio.fail_after(SECONDS):
            run = await anyio.run_process(
                [sys.executable, program, agent["id"], "Good evening!", fleet.server.url],
                cwd=tmp_path,
                stderr=subprocess.STDOUT,
            )
            refused = await anyio.run_process(
                [sys.executable, program, "nobody", "Good evening!", fleet.server.url],
                cwd=tmp_path,
                check=False,
            )

    reply, *rest = run.stdout.decode().splitlines()
    assert set(msgspec.json.decode(reply)) == {"execution_id", "stream", "status", "warnings"}
    assert rest[-1] == "[completed]"
    assert agent["provider"]["responses"][0] in rest
    assert b'"code":"not_found"' in refused.stdout
    assert refused.returncode == 1

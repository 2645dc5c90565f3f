"""The demo is run as a person runs it, except that it plays a script instead of asking a model."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from anyio.abc import Process

pytestmark = pytest.mark.single_server

SCRIPT = Path(__file__).parents[2] / "deploy" / "examples" / "demo.py"

OBSERVED = [
    "ok   the arguments of the look-up fit the JSON Schema that the tool's server lists",
    "ok   the server is one process of the pool, spoken to over stdio",
    "ok   the record of the call names the tool, and its result stands in DECISIONS.md",
    "ok   the first attempt was dropped, and the stream said so",
    "ok   exactly one terminal event",
    "ok   nothing is missing in the stream",
    "ok   the text of the live stream is the stored output",
    "ok   read again from the start, the stream has the same text",
    "ok   the output is JSON of the agent's schema",
    "ok   the record in JetStream says COMPLETED after 2 attempts",
]


def _environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


def _left_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _told(lines: list[str], name: str) -> str:
    return next(line.removeprefix(name).strip() for line in lines if line.startswith(f"{name} "))


async def _said_until(process: Process, words: str) -> str:
    said = ""
    assert process.stdout is not None
    while words not in said:
        said += (await process.stdout.receive()).decode()
    return said


async def test_the_demo_kills_a_process_in_mid_answer_and_finds_nothing_lost(tmp_path: Path):
    with anyio.fail_after(50):
        done = await anyio.run_process(
            [sys.executable, SCRIPT, "--scripted"],
            check=False,
            stderr=subprocess.STDOUT,
            env=_environment(tmp_path),
        )

    lines = [line.strip() for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0, lines
    assert [line for line in lines if line.startswith(("ok  ", "FAIL"))] == OBSERVED
    assert sum(line.startswith("kill -9 ") for line in lines) == 1
    assert _told(lines, "arguments").startswith('{"words":"lost worker"}, by scripted')
    assert "A lost worker makes a new work item" in _told(lines, "result")
    assert _left_in(tmp_path) == []


async def test_an_interrupted_demo_leaves_nothing_behind(tmp_path: Path):
    command = [sys.executable, SCRIPT, "--scripted"]
    with anyio.fail_after(50):
        async with await anyio.open_process(command, env=_environment(tmp_path)) as process:
            await _said_until(process, "subscribe")
            process.send_signal(signal.SIGINT)
            said = await _said_until(process, "Interrupted. Everything is stopped.")
            await process.wait()

    assert process.returncode == 130, said
    assert _left_in(tmp_path) == []

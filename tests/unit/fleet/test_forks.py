"""Processes that share their imports live, speak and end as those that do not."""

import os
import signal
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest
from anyio.streams.buffered import BufferedByteReceiveStream

from actors.fleet.forks import Forked, ForkServer, ProcessOutput
from bus.errors import CallboardError

SECONDS = 20.0
SLEEPER = "import time; print('awake', flush=True); time.sleep(60)"


@pytest.fixture
async def server() -> AsyncGenerator[ForkServer]:
    forks = ForkServer(["json"])
    forks.begin()
    yield forks
    forks.close()


async def _started(
    server: ForkServer, folder: Path, body: str, *words: str, **environ: str
) -> tuple[Forked, BufferedByteReceiveStream]:
    (folder / "told_to_run.py").write_text(body, encoding="utf-8")
    reads, writes = os.pipe()
    try:
        process = await server.start(["told_to_run", *words], environ, writes)
    finally:
        os.close(writes)
    return process, BufferedByteReceiveStream(ProcessOutput(reads))


def _shown(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8").rstrip("\0").split("\0")


async def _said(output: BufferedByteReceiveStream) -> str:
    said = b""
    with anyio.fail_after(SECONDS):
        async for part in output:
            said += part
    await output.aclose()
    return said.decode()


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose modules the fork server can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


async def test_a_process_has_its_own_arguments_variables_and_session(
    on_path: Path, server: ForkServer
):
    body = """
import os, sys
assert "json" in sys.modules, "what the server has imported is there"
print(sys.argv[1:], os.environ["WORD"], "HOME" in os.environ, os.getpid() == os.getsid(0))
print("and this", file=sys.stderr)
assert not sys.stdin.read()
sys.exit(7)
"""
    process, output = await _started(server, on_path, body, "one", "two", WORD="a=b")

    said = await _said(output)
    assert sorted(said.splitlines()) == ["['one', 'two'] a=b False True", "and this"]
    assert await process.wait() == process.returncode == 7


@pytest.mark.skipif(sys.platform != "linux", reason="other systems show it elsewhere")
async def test_the_systems_list_shows_what_a_process_is(on_path: Path, server: ForkServer):
    process, output = await _started(server, on_path, SLEEPER, "--word")
    await output.receive()

    shown = _shown(process.pid)
    process.kill()

    assert shown[-3:] == ["-m", "told_to_run", "--word"]
    assert await process.wait() == -signal.SIGKILL
    await output.aclose()


async def test_a_signal_to_what_has_ended_reaches_nobody(on_path: Path, server: ForkServer):
    process, output = await _started(server, on_path, "")
    with anyio.fail_after(SECONDS):
        await process.wait()

    process.terminate()

    assert process.returncode == 0
    await output.aclose()


async def test_processes_end_with_their_server_and_another_takes_its_place(
    on_path: Path, server: ForkServer
):
    first, output = await _started(server, on_path, SLEEPER)
    await output.receive()
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)

    with anyio.fail_after(SECONDS):
        assert await first.wait() == -signal.SIGTERM
    assert await _said(output) in ("", "\n")
    again, output = await _started(server, on_path, "print('here')")
    assert await _said(output) == "here\n"
    assert await again.wait() == 0


async def test_a_server_that_cannot_import_its_modules_is_told_of(tmp_path: Path):
    server = ForkServer(["there_is_no_such_module"])
    with (tmp_path / "log").open("wb") as log, pytest.raises(CallboardError, match="has ended"):
        await server.start(["json"], {}, log.fileno())
    server.close()

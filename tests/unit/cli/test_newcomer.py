"""What a new user types first, and what he is told."""

import subprocess
import sys
from collections.abc import AsyncGenerator
from importlib.abc import MetaPathFinder
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest
from click.testing import CliRunner, Result

from actors.cli import entry, executions
from actors.cli.commands import main
from actors.cli.config import CliConfig
from actors.cli.executions import NO_WORKER
from actors.cli.rendering import ShownAnswer
from actors.cli.session import Session
from actors.fleet.printing import Printer
from bus.client import Client
from bus.config import load
from schemas.executions import GetExecution
from schemas.llm import AnswerWarning
from schemas.streams import Completed, Thinking
from schemas.usage import Usage
from tests.stream_events import AT, waiting


def run(*line: str, **environment: str) -> Result:
    return CliRunner().invoke(main, line, env={"NATS_URL": None, **environment})


def test_the_version_is_an_option_too():
    assert run("--version").stdout == run("version").stdout


def test_a_port_beside_a_bus_to_join_is_refused_with_the_cure():
    done = run("up", "--port", "4333", NATS_URL="nats://127.0.0.1:1")

    assert done.exit_code == 2
    assert "unset NATS_URL" in done.stderr


def test_a_bus_that_nobody_serves_names_the_setting_and_not_the_command_itself():
    done = run("up", NATS_URL="nats://127.0.0.1:1")

    assert done.exit_code == 78, done.output
    assert "NATS_URL" in done.stderr
    assert "unset it so that `callboard up` starts its own" in done.stderr


def test_ctrl_c_ends_a_command_with_one_line(monkeypatch: pytest.MonkeyPatch):
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)
    done = run("doctor")

    assert (done.exit_code, done.stderr) == (130, "interrupted\n")


def test_a_wait_and_a_warning_are_shown_beside_the_answer(capsys: pytest.CaptureFixture[str]):
    answer = ShownAnswer()
    answer.show(waiting(1))
    answer.show(Thinking(execution_id="e", segment=2, sequence=0, at=AT, status="Asking openai"))
    warned = AnswerWarning(field="config.response_format", message="The answer is no JSON.")
    answer.show(
        Completed(
            execution_id="e",
            segment=3,
            sequence=0,
            at=AT,
            final_response="Well.",
            finish_reason="stop",
            usage=Usage(),
            warnings=[warned],
        )
    )

    shown = capsys.readouterr()
    assert shown.out == "Well.\n"
    assert shown.err == "[again]\nwarning: The answer is no JSON. (config.response_format)\n"


@pytest.mark.parametrize(("status", "told"), [("PENDING", f"{NO_WORKER}\n"), ("RUNNING", "")])
async def test_a_stream_says_that_it_waits_for_a_worker(
    status: str, told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    goes_on = anyio.Event()

    class Asked:
        async def request(self, tenant: str, wanted: GetExecution) -> Any:
            assert (tenant, wanted.execution_id) == ("local", "e")
            goes_on.set()
            return SimpleNamespace(status=status)

    async def followed(*_: Any, **__: Any) -> AsyncGenerator[Any]:
        await goes_on.wait()
        await anyio.wait_all_tasks_blocked()
        for event in ():
            yield event

    monkeypatch.setattr(executions, "follow", followed)
    monkeypatch.setattr(executions, "QUIET_SECONDS", 0.01)
    session = Session(config=load(CliConfig, {}), urls=(), tenant="local", named=False)
    with anyio.fail_after(30):
        await executions._show(cast("Client", Asked()), session, "e", None, json_=False)

    assert capsys.readouterr().err == told


def test_lines_for_machines_say_which_process_of_the_fleet_wrote_them(
    capsys: pytest.CaptureFixture[str],
):
    Printer(verbatim=True).line("streaming.2", '{"at":"2026","event":"x"}')

    assert capsys.readouterr().out == '{"name":"streaming.2","at":"2026","event":"x"}\n'


def test_ctrl_c_during_the_first_import_ends_the_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    class Interrupted(MetaPathFinder):
        def find_spec(self, fullname: str, path: object, target: object = None) -> None:
            del path, target
            if fullname == "actors.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "actors.cli.commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupted(), *sys.meta_path])

    with pytest.raises(SystemExit) as ended:
        entry.run()
    assert (ended.value.code, capsys.readouterr().err) == (130, "interrupted\n")


def test_help_imports_next_to_nothing_and_a_command_no_client_of_http():
    code = """
import sys
from actors.cli.commands import main
try: main(["agents"])
except SystemExit: pass
print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
from actors.cli import asking
print(*(name for name in sys.argv[1:] if name in sys.modules), file=sys.stderr)
"""
    names = ("nats", "rich", "anyio", "httpx", "pydantic", "aiohttp.client")
    line = [sys.executable, "-c", code, *names]
    done = subprocess.run(line, capture_output=True, text=True, check=True, timeout=60)

    assert done.stderr.splitlines()[-2:] == ["", "nats rich anyio"]

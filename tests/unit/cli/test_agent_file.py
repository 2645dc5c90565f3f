"""The agent file to begin with: what it shows is all there is, and is right."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from actors.agents.core import definitions
from actors.agents.core.prompt import assemble
from actors.cli.agent_file import text
from actors.cli.commands import main
from bus.codec import convert
from schemas.agents import (
    AgentDefinition,
    AgentLimits,
    AgentTool,
    ApplyAgent,
    Memory,
    Personality,
    Prompts,
)
from schemas.executions import ExecuteAgent
from schemas.llm import GenerateRequest, ModelConfig
from schemas.policy import Policy
from tests.unit.agents.samples import NOW

PARTS = (AgentLimits, AgentTool, Memory, Personality, Prompts, ModelConfig, Policy)
NOT_SHOWN = {"model_config", "instructions"}
"""Other ways to write provider, config and prompts."""


def agent(written: str) -> AgentDefinition:
    wanted = convert(ApplyAgent, msgspec.yaml.decode(written))
    created = definitions.create(wanted.id, wanted, NOW)
    assert isinstance(created, AgentDefinition), created
    return created


def all_on(written: str) -> str:
    """Take away the # before each setting."""
    return re.sub(r"(?m)^( *)#(?=[a-z-])", r"\1", written)


def test_it_is_an_agent_that_runs_with_a_task_alone():
    request = assemble(
        agent(text("greeter")), ExecuteAgent(agent_id="greeter", task="Good evening!"), []
    )

    assert isinstance(request, GenerateRequest)
    assert request.messages[-1].text == "Good evening!"


def test_every_setting_it_shows_is_one_and_every_setting_is_shown():
    written = all_on(text("greeter"))
    found = agent(written)
    shown: set[str] = set(re.findall(r"(?m)^ *(?:- )?([a-z_]+):", written))

    assert found.policy.safety is not None
    assert found.config.response_format is not None
    names = {name for kind in (ApplyAgent, *PARTS) for name in kind.__struct_fields__}
    assert names - shown - NOT_SHOWN == set()


def test_it_is_written_once_and_never_over_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    line: list[Any] = ["agents", "new", "greeter"]

    first, second = CliRunner().invoke(main, line), CliRunner().invoke(main, line)

    assert first.exit_code == 0, first.output
    assert Path("greeter.yaml").read_text(encoding="utf-8") == text("greeter")
    assert (second.exit_code, second.stderr) == (2, "cannot write greeter.yaml: File exists\n")
    assert CliRunner().invoke(main, ["agents", "new", "x", "--file", "-"]).stdout == text("x")


def test_the_local_model_says_what_it_needs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("actors.cli.local_model.missing", lambda: "the wheel is not installed")

    done = CliRunner().invoke(main, ["local-model", "--check"])

    assert (done.exit_code, done.stderr) == (
        69,
        "No local model: the wheel is not installed. `make install` brings it.\n",
    )

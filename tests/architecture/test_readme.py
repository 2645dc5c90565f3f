"""What the README shows is true: its tables, its files, its agent, its program."""

import ast
import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest

from actors.agents.core import definitions
from actors.cli import main as root
from bus.codec import convert
from schemas.agents import AgentDefinition, ApplyAgent
from tests.architecture.readme import README, blocks, renewed, subjects_block
from tests.architecture.tree import ROOT
from tests.unit.agents.samples import NOW

TEXT = README.read_text(encoding="utf-8")
FILES = sorted(
    set(re.findall(r"`((?:actors|bus|schemas|deploy|tests)/[\w/.]+|\w+\.(?:md|conf|lock))`", TEXT))
)

CALLS = re.findall(r"^\$ .*?(callboard \w.*)$", "\n".join(blocks("console")), re.MULTILINE)


def test_its_table_of_subjects_is_the_catalog():
    assert subjects_block() in TEXT


def test_its_generated_parts_are_up_to_date():
    assert renewed(TEXT) == TEXT


@pytest.mark.parametrize(
    ("variable", "default"),
    [
        ("MAX_CONCURRENT_EXECUTIONS", "50"),
        ("STREAM_BUFFER_SIZE", "1000"),
        ("CONNECT_TIMEOUT", "30"),
        ("EXECUTION_TIMEOUT", "300"),
        ("CLEANUP_INTERVAL", "60"),
    ],
)
def test_its_table_of_settings_states_the_defaults_that_were_asked_for(variable: str, default: str):
    assert f"| `{variable}` | `{default}` |" in TEXT


@pytest.mark.parametrize("file", FILES)
def test_a_file_it_names_exists(file: str):
    assert (ROOT / file).exists()


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", TEXT)

    assert [link for link in links if not (ROOT / link).exists()] == []


def test_its_first_agent_is_a_valid_definition():
    wanted = convert(ApplyAgent, msgspec.yaml.decode(blocks("yaml")[0]))

    assert isinstance(definitions.create(wanted, NOW), AgentDefinition)


def test_its_client_is_a_program_that_imports_nothing_of_ours():
    program = ast.parse(blocks("python")[0])
    imported = {
        name.name for node in program.body if isinstance(node, ast.Import) for name in node.names
    }

    assert compile(program, "README.md", "exec")
    assert imported == {"asyncio", "json", "sys", "uuid", "nats"}


def test_the_targets_it_names_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"\bmake (\w+)", " ".join(blocks("console"))))

    assert named == {"demo", "test", "install"}
    assert [name for name in named if f"\n{name}:" not in makefile] == []


@pytest.mark.parametrize("line", CALLS)
def test_a_command_it_shows_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "greeter.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert _understood(root, shlex.split(line)[1:]).name in root.list_commands(click.Context(root))


def _understood(command: click.Command, arguments: list[str]) -> click.Command:
    """Parse a command line without running it, and return the command below the root."""
    context = command.make_context(command.name, arguments[:])
    if not isinstance(command, click.Group):
        return command
    if command.invoke_without_command and arguments[0].startswith("-"):
        return command
    _, below, rest = command.resolve_command(context, arguments)
    assert below is not None
    _understood(below, rest)
    return below

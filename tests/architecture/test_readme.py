"""What the README shows is true: its tables, its files, its agent, its program."""

import ast
import re
import shlex
from pathlib import Path

import click
import msgspec
import pytest

from actors.agents.core import definitions
from actors.cli.commands import main as root
from actors.cli.config import CliConfig
from bus.codec import convert
from bus.config.reading import beside
from bus.config.reference import readme_block
from schemas.agents import AgentDefinition, ApplyAgent
from tests.architecture.readme import (
    GUIDES,
    README,
    anchors,
    blocks,
    commands,
    renewed,
    subjects_block,
)
from tests.architecture.tree import ROOT
from tests.unit.agents.samples import NOW

README_BYTES = 10 * 1024
TEXTS = {guide: guide.read_text(encoding="utf-8") for guide in GUIDES}
TEXT = "\n".join(TEXTS.values())
FILES = sorted(
    set(re.findall(r"`((?:actors|bus|schemas|deploy|tests)/[\w/.]+|\w+\.(?:md|conf|lock))`", TEXT))
)
CONSOLE = "\n".join(block for guide in GUIDES for block in blocks("console", guide))
CALLS = sorted(line[line.index("callboard ") :] for line in commands() if "callboard " in line)
OTHERS = [line for line in commands() if "callboard " not in line]
KNOWN = {"make", "python", "."}
"""Programs of command lines that are checked: a target, a script, the file of an environment."""
SETTINGS = {
    "MAX_CONCURRENT_EXECUTIONS": "50",
    "STREAM_BUFFER_SIZE": "1000",
    "CONNECT_TIMEOUT": "30",
    "EXECUTION_TIMEOUT": "300",
}


def named(guide: Path) -> str:
    return str(guide.relative_to(ROOT))


def test_the_readme_is_read_in_a_few_minutes():
    assert len(TEXTS[README].encode()) <= README_BYTES


def test_the_readme_leads_to_every_guide():
    linked = {(ROOT / link).resolve() for link in re.findall(r"\]\(([\w/.]+\.md)", TEXTS[README])}

    assert set(GUIDES) - linked - {README} == set()


def test_each_generated_table_stands_in_one_guide():
    assert TEXT.count(subjects_block()) == 1
    assert TEXT.count(readme_block(beside(CliConfig))) == 1


@pytest.mark.parametrize("guide", GUIDES, ids=named)
def test_its_generated_parts_are_up_to_date(guide: Path):
    assert renewed(TEXTS[guide]) == TEXTS[guide]


@pytest.mark.parametrize("variable", SETTINGS)
def test_the_table_of_settings_states_the_defaults_that_were_asked_for(variable: str):
    assert f"| `{variable}` | `{SETTINGS[variable]}` |" in TEXT


@pytest.mark.parametrize("file", FILES)
def test_a_file_that_is_named_exists(file: str):
    assert (ROOT / file).exists()


def test_ten_questions_of_a_newcomer_are_answered_within_three_clicks_of_the_readme():
    """README leads to tests/README.md, and a question there to the heading that answers it."""
    table = TEXTS[ROOT / "tests" / "README.md"].partition("## Questions, and where")[2]
    answers = re.findall(r"^\| [^|]*\? \| \[[^]]+\]\(([^)#]+)#([^)]+)\) \|$", table, re.MULTILINE)

    assert len(answers) >= 10
    for file, anchor in answers:
        guide = (ROOT / "tests" / file).resolve()
        assert guide in TEXTS
        assert anchor in anchors(TEXTS[guide])


@pytest.mark.parametrize("guide", GUIDES, ids=named)
def test_its_links_lead_to_a_file_and_a_heading(guide: Path):
    for file, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", TEXTS[guide]):
        target = (guide.parent / file).resolve() if file else guide
        assert target.exists(), file
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), anchor


def test_the_first_agent_is_a_valid_definition():
    wanted = convert(ApplyAgent, msgspec.yaml.decode(blocks("yaml")[0]))

    assert isinstance(definitions.create(wanted.id, wanted, NOW), AgentDefinition)


def test_the_client_is_a_program_that_imports_nothing_of_ours():
    program = ast.parse(blocks("python")[0])
    imported = {
        name.name for node in program.body if isinstance(node, ast.Import) for name in node.names
    }

    assert compile(program, "README.md", "exec")
    assert imported == {"asyncio", "json", "sys", "uuid", "nats"}


def test_the_targets_that_are_named_are_in_the_makefile():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"\bmake ([\w-]+)", CONSOLE))

    assert {"demo", "test", "install"} <= targets
    assert [name for name in targets if f"\n{name}:" not in makefile] == []


@pytest.mark.parametrize("line", OTHERS)
def test_a_command_of_another_program_names_what_is_there(line: str):
    """docker, kubectl and helm are parsed here once guides show them; this list has none yet."""
    program, first, *_ = shlex.split(line)

    assert program in KNOWN
    assert program == "make" or first == ".venv/bin/activate" or (ROOT / first).is_file()


@pytest.mark.parametrize("line", CALLS)
def test_a_command_that_is_shown_is_understood(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "greeter.yaml").write_text(blocks("yaml")[0], encoding="utf-8")
    monkeypatch.chdir(tmp_path)

    assert _understood(root, shlex.split(line.partition(" >")[0])[1:]).name in root.list_commands(
        click.Context(root)
    )


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

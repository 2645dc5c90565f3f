"""Whatever a command prints, it obeys nobody but the operator."""

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import actors.cli
from actors.cli import rendering, replies
from actors.cli.session import leave
from actors.fleet.printing import Printer
from bus.errors import problem
from bus.telemetry import logs
from schemas.problems import Problem
from schemas.providers import Scripted, ScriptedCalls, ScriptedTool
from schemas.streams import (
    ApprovalRequested,
    AttemptRestarted,
    Completed,
    ContentChunk,
    StreamEvent,
    ThinkingChunk,
    ToolCalled,
    ToolReturned,
)
from tests.contract.examples import example
from tests.unit.schemas.test_printable import COMMANDS, FORBIDDEN

TEXT = "".join(COMMANDS.values()).replace("\ud83d", "")
PRINTS = {"echo", "secho", "style", "print", "print_json", "echo_via_pager", "Console"}


def _calls(path: Path) -> list[str]:
    """Return what a module calls that prints."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else None
            name = node.func.id if isinstance(node.func, ast.Name) else name
            found += [f"{path.name}:{node.lineno} {name}"] if name in PRINTS else []
        elif isinstance(node, ast.Attribute) and node.attr in {"stdout", "__stdout__"}:
            found.append(f"{path.name}:{node.lineno} {node.attr}")
    return found


def test_nothing_in_the_command_line_prints_but_one_module():
    modules = sorted(Path(actors.cli.__file__).parent.glob("*.py"))
    others = [
        call for module in modules if module.name != "rendering.py" for call in _calls(module)
    ]
    assert len(modules) > 10
    assert others == []
    assert _calls(Path(rendering.__file__))


def _event(kind: Any, **fields: object) -> StreamEvent:
    plain = {name: getattr(example(kind), name) for name in kind.__struct_fields__}
    return kind(**(plain | fields))


def _answer(*events: StreamEvent) -> None:
    answer = rendering.ShownAnswer()
    for each in events:
        answer.show(each)


def _left() -> None:
    with pytest.raises(BaseException, match="1"):
        leave(problem("validation", TEXT, field=TEXT))


def _logged() -> None:
    logs.configure("error", "console")
    logs.structlog.get_logger().error("event", said=TEXT)


SHOWN: dict[str, Callable[[], None]] = {
    "a line": lambda: rendering.line(TEXT),
    "a styled line": lambda: rendering.line(rendering.styled(TEXT, bold=True), TEXT, err=True),
    "JSON": lambda: rendering.json(Problem(code="internal", message=TEXT, details={TEXT: TEXT})),
    "a line of JSON": lambda: rendering.json_line(Problem(code="internal", message=TEXT)),
    "a table": lambda: rendering.table(("a", "b"), [(TEXT, datetime(2026, 1, 2, tzinfo=UTC))]),
    "CSV": lambda: rendering.csv([(TEXT, 1)]),
    "an answer": lambda: _answer(_event(ContentChunk, content=TEXT)),
    "a thought": lambda: _answer(_event(ThinkingChunk, content=TEXT)),
    "a restart": lambda: _answer(
        _event(ContentChunk, content=TEXT), _event(AttemptRestarted, reason=TEXT)
    ),
    "a tool": lambda: _answer(
        _event(ToolCalled, tool_name="t", arguments={"a": TEXT}),
        _event(ToolReturned, tool_name="t", content=TEXT),
    ),
    "an end": lambda: _answer(_event(Completed, final_response=TEXT)),
    "an error": _left,
    "a line of a process": lambda: Printer(verbatim=False).line("x", f"not JSON {TEXT}"),
    "a log line": lambda: Printer(verbatim=False).line("x", '{"event":"\\u001b[2J","k":"\\u009b"}'),
    "a line as it is": lambda: Printer(verbatim=True).line("x", TEXT),
    "a log line for people": _logged,
}


@pytest.mark.parametrize("name", SHOWN)
def test_control_characters_are_escaped_whatever_prints_them(
    name: str, capsys: pytest.CaptureFixture[str]
):
    SHOWN[name]()
    out, err = capsys.readouterr()
    assert out + err
    assert not (FORBIDDEN - {"\n", "\t"}) & set(out + err)


def test_the_lines_and_tabs_of_an_answer_stay(capsys: pytest.CaptureFixture[str]):
    _answer(_event(ContentChunk, content="a\n\tb\n"))
    assert capsys.readouterr().out == "a\n\tb\n"


def test_who_waits_for_an_answer_sees_its_tools_and_how_to_let_one_go(
    capsys: pytest.CaptureFixture[str],
):
    _answer(
        _event(ContentChunk, content="I look."),
        _event(ToolCalled, tool_name="get", arguments={"a": 1}),
        _event(ApprovalRequested, execution_id="e1", call_id="c1", tool_name="get"),
        _event(ToolReturned, tool_name="get", outcome="done", is_error=False, content="x" * 300),
        _event(ToolReturned, tool_name="put", outcome="rejected", is_error=True, content="no"),
        _event(ContentChunk, content="It"),
        _event(Completed, final_response="It is there."),
    )

    shown = capsys.readouterr()
    assert shown.out == "I look.\nIt is there.\n"
    assert '[calls get {"a":1}]\n' in shown.err
    assert "[get waits for approval: callboard executions approve e1 --call c1]\n" in shown.err
    assert f"[get answered: {'x' * 200}…]\n" in shown.err
    assert "[put failed: no]\n" in shown.err


def test_a_list_of_texts_and_structs_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]):
    script = Scripted(responses=[ScriptedCalls(calls=[ScriptedTool(name="get")]), "Done."])

    replies.show([script], as_json=False, only=None)

    assert '"Done."' in capsys.readouterr().out

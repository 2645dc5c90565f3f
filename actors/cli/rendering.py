"""All that the command line prints: lines, tables and streams on a terminal, JSON for programs.

Nothing else here prints: what comes from users, agents, models and servers is made harmless in this
module, whatever its way.
"""

import io
import sys
from collections.abc import Iterable, Sequence
from csv import writer
from datetime import datetime
from typing import Any, NamedTuple

import click
import msgspec
from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.cli.views import move_note
from schemas.llm import AnswerWarning
from schemas.printable import printable
from schemas.streams import (
    ApprovalRequested,
    AttemptRestarted,
    Cancelled,
    Completed,
    ContentChunk,
    Failed,
    StreamEvent,
    Thinking,
    ThinkingChunk,
    ToolCalled,
    ToolReturned,
    WorkflowTurned,
)

MOST_SHOWN = 200
"""Characters of a tool's arguments or result that are shown."""

UP_AND_CLEAR = "\x1b[{rows}A\r\x1b[J"


class Styled(NamedTuple):
    """A text and how to show it, in the words of ``click.style``."""

    text: str
    style: dict[str, Any]


def styled(text: str, **style: Any) -> Styled:
    """Return a text that ``line`` prints in colour, bold or dim."""
    return Styled(text, style)


def line(*parts: str | Styled, err: bool = False, end: str = "\n") -> None:
    """Print texts one after another, with control characters escaped."""
    click.echo("".join(map(_safe, parts)) + end, nl=False, err=err)


def json(message: Any) -> None:
    """Print a message as indented JSON."""
    line(msgspec.json.format(msgspec.json.encode(message), indent=2).decode())


def json_line(message: Any) -> None:
    """Print a message as one line of JSON."""
    line(msgspec.json.encode(message).decode())


def csv(rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as comma-separated values."""
    target = io.StringIO()
    writer(target, lineterminator="\n").writerows(rows)
    line(target.getvalue(), end="")


def _safe(part: str | Styled) -> str:
    if isinstance(part, Styled):
        return click.style(printable(part.text), **part.style)
    return printable(part)


def table(
    titles: Sequence[str], rows: Iterable[Sequence[Any]], *, total: int | None = None
) -> None:
    """Print a table; ``total`` is said below it where more match than are shown."""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        grid.add_column(title, overflow="fold")
    count = 0
    for row in rows:
        grid.add_row(*(Text(_cell(value)) for value in row))
        count += 1
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(grid if count else "none")
    if total is not None and total > count:
        console.print(f"{count} of {total}")


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case datetime():
            return value.strftime("%Y-%m-%d %H:%M:%S")
        case _:
            return printable(str(value), one_line=True)


def warn(warning: AnswerWarning) -> None:
    """Print on standard error that something is otherwise than asked."""
    line(styled(f"warning: {warning.message} ({warning.field})", fg="yellow"), err=True)


class ShownAnswer:
    """Shows an answer as it comes; on a terminal, what became void is wiped out."""

    def __init__(self) -> None:
        self._wipes = sys.stdout.isatty()
        self._text = ""
        self._thinks = False

    def show(self, event: StreamEvent) -> None:
        """Show one event; the texts go to standard output, all else to standard error."""
        match event:
            case ContentChunk(content=content):
                self._stop_thinking()
                self._text += content
                line(content, end="")
            case Thinking(status=status, until=datetime()):
                self._stop_thinking()
                line(styled(f"[{status}]", dim=True), err=True)
            case ThinkingChunk(content=content):
                self._thinks = True
                line(styled(content, dim=True), err=True, end="")
            case ToolCalled() | ApprovalRequested() | ToolReturned():
                self._note(tool_note(event))
            case WorkflowTurned(moves=moves):
                for each in moves:
                    self._note(f"[{move_note(each)}]")
            case AttemptRestarted(reason=reason):
                self._restart(reason)
            case Completed(final_response=response, warnings=warnings):
                self._complete(response)
                for each in warnings:
                    warn(each)
            case Failed() | Cancelled():
                self._end_line()
            case _:
                return

    def _note(self, note: str) -> None:
        """Say between two answers what is done with tools; the next answer is a text of its own."""
        self._stop_thinking()
        self._end_line()
        self._text = ""
        line(styled(note, dim=True), err=True)

    def _restart(self, reason: str) -> None:
        self._stop_thinking()
        size = Console().size
        rows = rows_of(printable(self._text), size.width)
        if self._wipes and self._text and rows < size.height:
            click.echo(UP_AND_CLEAR.format(rows=rows - 1) if rows > 1 else "\r\x1b[J", nl=False)
        else:
            self._end_line()
        self._text = ""
        line(styled(f"[begins again: {reason}]", fg="yellow"), err=True)

    def _complete(self, response: str) -> None:
        """End the line; an answer that came only with its end is shown whole."""
        self._stop_thinking()
        if response.startswith(self._text):
            line(response[len(self._text) :], end="")
            self._text = response
        self._end_line()

    def _stop_thinking(self) -> None:
        if self._thinks:
            click.echo(err=True)
        self._thinks = False

    def _end_line(self) -> None:
        if self._text and not self._text.endswith("\n"):
            click.echo()


def tool_note(event: ToolCalled | ApprovalRequested | ToolReturned) -> str:
    """Return the line that says what happens with a tool. Pure."""
    match event:
        case ToolCalled(arguments=arguments):
            given = arguments if isinstance(arguments, str) else msgspec.json.encode(arguments)
            return f"[calls {event.tool_name} {_short(given)}]"
        case ApprovalRequested():
            allow = f"callboard executions approve {event.execution_id} --call {event.call_id}"
            return f"[{event.tool_name} waits for approval: {allow}]"
        case ToolReturned(is_error=is_error):
            ends = "failed" if is_error else "answered"
            return f"[{event.tool_name} {ends}: {_short(event.content or event.outcome)}]"


def _short(text: str | bytes) -> str:
    whole = text.decode() if isinstance(text, bytes) else text
    return whole if len(whole) <= MOST_SHOWN else f"{whole[:MOST_SHOWN]}…"


def rows_of(text: str, width: int) -> int:
    """Return how many rows of a terminal a text takes. Pure."""
    return sum(max(1, -(-cell_len(line) // width)) for line in text.split("\n"))

"""What a fleet shows: the lines of its processes, and a table of them."""

import io
from collections.abc import Iterable, Sequence
from typing import Any

import click
import msgspec
from rich import box
from rich.console import Console
from rich.table import Table

from actors.fleet.child import Child
from actors.fleet.plan import PlannedProcess
from schemas.printable import printable

COLOURS = ("cyan", "magenta", "green", "blue", "yellow", "bright_cyan", "bright_magenta")
LEVELS = {"warning": "yellow", "error": "red", "critical": "red"}
STATES = {"ready": "green", "starting": "yellow", "stopping": "yellow", "down": "red"}
LEFT_OUT = frozenset({"at", "level", "event", "actor", "process"})
NAME_WIDTH = 20
TIME = slice(11, 19)
MEGABYTE = 1_000_000


class Printer:
    """Writes to standard output: for people, or line by line as the processes wrote it."""

    def __init__(self, *, verbatim: bool) -> None:
        self._verbatim = verbatim
        self._colours: dict[str, str] = {}

    def line(self, name: str, text: str) -> None:
        """Write a line of a process; JSON becomes readable, anything else stays as it is."""
        if not text.strip():
            return
        if self._verbatim:
            click.echo(printable(_named(name, text.rstrip())))
            return
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        click.echo(click.style(f"{name:<{NAME_WIDTH}}", fg=colour) + readable(text.rstrip()))

    def table(
        self, children: Sequence[Child], server: tuple[str, int | None], metrics: str
    ) -> None:
        """Write the table of processes, unless lines are for machines."""
        if not self._verbatim:
            shown = table(children, server)
            shown.caption = f"{shown.caption}\nmetrics {metrics}"
            Console(highlight=False).print(shown)


def _named(name: str, line: str) -> str:
    """Put into a JSON line what its process is called in this fleet."""
    begin = '{"at":'
    return f'{{"name":"{name}","at":{line[len(begin) :]}' if line.startswith(begin) else line


class Lines(io.TextIOBase):
    """A text file whose lines go to a printer under one name."""

    def __init__(self, printer: Printer, name: str) -> None:
        self._printer = printer
        self._name = name

    def write(self, text: str, /) -> int:
        """Print the lines of ``text``."""
        for line in text.splitlines():
            self._printer.line(self._name, line)
        return len(text)


def readable(line: str) -> str:
    """Turn a JSON log line into one for people; return any other line as it is."""
    try:
        fields = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError):
        return printable(line)
    at, event = str(fields.get("at", ""))[TIME], str(fields.get("event", ""))
    text = click.style(printable(event), fg=LEVELS.get(str(fields.get("level"))))
    return " ".join([*([printable(at)] if at else []), text, *_pairs(fields)])


def table(children: Iterable[Child], server: tuple[str, int | None]) -> Table:
    """Return the table of processes as it stands."""
    rows = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("process", "pid", "state"):
        rows.add_column(title)
    for title in ("cpu %", "memory", "in flight", "restarts"):
        rows.add_column(title, justify="right")
    url, pid = server
    if pid is not None:
        rows.add_row("nats-server", str(pid), "[green]ready[/]", "", "", "", "")
    for child in children:
        for member in child.members:
            rows.add_row(*_row(child, member))
    rows.caption = f"bus {url}"
    return rows


def _row(child: Child, member: PlannedProcess) -> list[str]:
    """Return the row of one actor; what several in one process use is shown once."""
    state, pid = f"[{STATES[child.state]}]{child.state}[/]", str(child.pid or "-")
    alive = child.alive.get(member.actor)
    if alive is None:
        return [member.name, pid, state, "", "", "", str(child.restarts)]
    memory = f"{alive.memory_bytes / MEGABYTE:.0f} MB"
    busy = f"{alive.running}/{alive.capacity}" if alive.capacity else str(alive.running)
    cpu = f"{alive.cpu_percent:.0f}"
    if member != child.members[0]:
        cpu = memory = ""
    return [member.name, pid, state, cpu, memory, busy, str(child.restarts)]


def _pairs(fields: dict[str, Any]) -> list[str]:
    return [
        f"{printable(key)}={_short(value)}" for key, value in fields.items() if key not in LEFT_OUT
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return printable(text, one_line=True)

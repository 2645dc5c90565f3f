"""The requests of the contract as commands: ``callboard <domain> <verb>``, from the catalogue.

Nothing is imported here that speaks to a bus, so that help is quick.
"""

from collections.abc import Iterable
from inspect import cleandoc
from pkgutil import resolve_name
from typing import Any, NamedTuple

import click

from actors.cli.fields import options, positional
from schemas import catalog
from schemas.base import Command, Request
from schemas.catalog import RequestRow
from schemas.ids import PLATFORM

SOURCES = """\b
FILE      requests from a file: JSON, or YAML documents separated by ---
-         the same from standard input"""


BY_HAND = {
    "agents": {"new": ("agent_file:new", "Write a commented agent file to begin with.")},
    "mcp": {
        "check": ("mcp_servers:check", "Ask a server for a sign of life and its tools."),
        "login": ("mcp_login:login", "Log in to a server, for the pool to use it."),
        "serve": ("mcp_serve:serve", "Offer agents and tools over MCP."),
    },
    "workflows": {
        "check": ("workflows:check", "Prove the workflows in files before they run."),
        "graph": ("workflows:graph", "Draw the workflows in a file."),
    },
}
"""What stands among the requests of a domain and is none: where it is defined, what it is for."""


class Where(NamedTuple):
    """Which bus and tenant a command line names; a session is made of it when it is needed."""

    url: str | None = None
    tenant: str | None = None


def domains() -> dict[str, list[RequestRow]]:
    """Return the requests of the contract by their domain."""
    found: dict[str, list[RequestRow]] = {}
    for row in catalog.requests():
        found.setdefault(row.name.partition(".")[0], []).append(row)
    return found


def summary(rows: Iterable[RequestRow]) -> str:
    """Return in one line what can be asked of a domain."""
    return ", ".join(verb(row) for row in rows)


def verb(row: RequestRow) -> str:
    """Return a request's verb as it is typed: ``top-up``, ``servers-apply``."""
    return row.name.partition(".")[2].replace("_", "-").replace(".", "-")


def domain(name: str) -> click.Group | None:
    """Return the commands of a domain, None if the contract has none."""
    rows = domains().get(name)
    if rows is None:
        return None
    may_be_platforms = any(row.message.PLATFORM for row in rows)
    platform = click.Option(
        ["--platform"], is_flag=True, help="In the name of the platform; for operators."
    )
    return _Domain(
        name,
        {verb(row): row for row in rows},
        callback=_as_platform if may_be_platforms else None,
        params=[platform] if may_be_platforms else [],
        help=f"Requests: {summary(rows)}.",
    )


class _Domain(click.Group):
    """The requests of a domain; the fields of one are looked at when it is called."""

    def __init__(self, name: str, rows: dict[str, RequestRow], **more: Any) -> None:
        super().__init__(name, **more)
        self._rows = rows

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs."""
        del ctx
        return list(dict.fromkeys([*self._rows, *BY_HAND.get(self.name or "", ())]))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a verb."""
        del ctx
        by_hand = BY_HAND.get(self.name or "", {})
        if cmd_name in by_hand:
            return resolve_name(f"actors.cli.{by_hand[cmd_name][0]}")
        row = self._rows.get(cmd_name)
        return _command(row) if row else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the verbs with what they are for."""
        del ctx
        with formatter.section("Commands"):
            by_hand = BY_HAND.get(self.name or "", {})
            rows = [(n, _short(row)) for n, row in self._rows.items() if n not in by_hand]
            formatter.write_dl([*rows, *((name, words) for name, (_, words) in by_hand.items())])


def _short(row: RequestRow) -> str:
    return row.doc.replace("`", "")


@click.pass_context
def _as_platform(context: click.Context, *, platform: bool) -> None:
    if platform:
        context.obj = context.obj._replace(tenant=PLATFORM)


def _command(row: RequestRow) -> click.Command:
    kind = row.message
    about = " ".join(name.upper() for name in positional(kind))
    words = click.Argument(["_words"], nargs=-1, metavar=f"{about} | FILE… | -".removeprefix(" | "))
    flags = [
        click.Option(["--json", "_json"], is_flag=True, help="Print the reply as JSON."),
        click.Option(["--only", "_only"], metavar="FIELD", help="Print one field of the reply."),
    ]
    if issubclass(kind, Command):
        help_ = "Store it, to be carried out for certain; nobody waits for an answer."
        flags.append(click.Option(["--submit", "_submit"], is_flag=True, help=help_))
    return click.Command(
        verb(row),
        params=[words, *options(kind), *flags],
        callback=_asking(kind),
        help=f"{_told(kind)}\n\n{SOURCES}",
        short_help=_short(row),
    )


def _asking(kind: type[Request]) -> Any:
    """Return what a command does when it is called, with all that it imports only then."""

    @click.pass_obj
    def call(where: Where, /, **given: Any) -> None:
        resolve_name("actors.cli.asking:ask")(where, kind, given)

    return call


def _told(kind: type[Request]) -> str:
    return cleandoc(kind.__doc__ or "").replace("``", "")

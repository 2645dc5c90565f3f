"""``callboard agents``: definitions."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from actors.cli import shown
from actors.cli.session import Session, leave, with_session
from bus import files
from bus.client import Client
from bus.codec import accept, convert
from bus.errors import ProblemError
from schemas.agents import (
    AgentDefinition,
    AgentList,
    ApplyAgent,
    DeleteAgent,
    GetAgent,
    ListAgents,
    ToggleAgent,
)

TITLES = ("id", "status", "provider", "model", "version", "executions", "name")


@click.group()
def agents() -> None:
    """Create, change, list and delete agents."""


@agents.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, allow_dash=True)
)
@with_session
def apply(session: Session, files: Sequence[str]) -> None:
    """Create the agents in FILES, or change those that stand: YAML or JSON, - for standard input.

    A YAML file may hold several agents, separated by ---.
    """
    wanted = [agent for file in files for agent in _read(file)]

    async def body(client: Client) -> None:
        for agent in wanted:
            stored: AgentDefinition = await client.request(session.tenant, agent)
            shown.line(f"{stored.id}: version {stored.version}")

    session.run(body)


@agents.command()
@click.argument("agent_id", metavar="ID")
@click.option("--version", type=click.IntRange(1), help="An older version.")
@with_session
def get(session: Session, agent_id: str, version: int | None) -> None:
    """Print a definition as JSON."""
    _ask(session, {"id": agent_id, "version": version}, GetAgent)


@agents.command("list")
@click.option("--status", help="Only IDLE, BUSY, OFFLINE or ERROR ones.")
@click.option("--provider", help="Only those of this provider.")
@click.option("--search", help="Only those with this text in id, name or description.")
@click.option("--limit", type=int, default=50, show_default=True)
@click.option("--offset", type=int, default=0, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON.")
@with_session
def list_(session: Session, *, as_json: bool, **query: Any) -> None:
    """List agents."""
    wanted = built(ListAgents, query)

    async def body(client: Client) -> AgentList:
        return await client.request(session.tenant, wanted)

    found = session.run(body)
    if as_json:
        shown.json(found)
        return
    rows = (
        (a.id, a.status, a.provider, a.model, a.version, a.execution_count, a.name)
        for a in found.agents
    )
    shown.table(TITLES, rows, total=found.total)


@agents.command()
@click.argument("agent_id", metavar="ID")
@with_session
def delete(session: Session, agent_id: str) -> None:
    """Delete an agent softly: it can no longer be run or listed, its versions remain."""
    wanted = built(DeleteAgent, {"id": agent_id})

    async def body(client: Client) -> None:
        await client.request(session.tenant, wanted)
        shown.line(f"{agent_id}: deleted")

    session.run(body)


@agents.command()
@click.argument("agent_id", metavar="ID")
@click.option("--online/--offline", required=True, default=None, help="In service, or out of it.")
@with_session
def toggle(session: Session, agent_id: str, *, online: bool) -> None:
    """Take an agent out of service, or back into it."""
    wanted = built(ToggleAgent, {"id": agent_id, "status": "IDLE" if online else "OFFLINE"})

    async def body(client: Client) -> None:
        agent: AgentDefinition = await client.request(session.tenant, wanted)
        shown.line(f"{agent.id}: {agent.status}")

    session.run(body)


def built(kind: type[Any], fields: dict[str, Any]) -> Any:
    """Make a request of what was given on the command line; what is wrong ends the command."""
    try:
        return convert(kind, {name: value for name, value in fields.items() if value is not None})
    except ProblemError as error:
        leave(error)


def _ask(session: Session, fields: dict[str, Any], kind: type[Any]) -> None:
    wanted = built(kind, fields)

    async def body(client: Client) -> Any:
        return await client.request(session.tenant, wanted)

    shown.json(session.run(body))


def _read(file: str) -> Iterator[ApplyAgent]:
    """Yield the agents of a file; an error names it."""
    try:
        data = files.bounded(sys.stdin.buffer, file) if file == "-" else files.read(file)
    except ProblemError as error:
        leave(error)
    try:
        yield from definitions(data, is_json=file.endswith(".json"))
    except ProblemError as error:
        leave(files.named(error, file))


def definitions(data: bytes, *, is_json: bool) -> Iterator[ApplyAgent]:
    """Yield the definitions in a text: JSON, or YAML documents. Pure.

    Raises:
        ProblemError: ``validation``, which names the field where it is one.
    """
    if is_json:
        yield accept(ApplyAgent, data)
        return
    for document in files.documents(data):
        yield convert(ApplyAgent, document)

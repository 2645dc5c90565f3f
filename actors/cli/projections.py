"""``callboard projections``: the tables that are made from journals."""

from datetime import datetime

import anyio
import click

from actors.cli import rendering
from actors.cli.session import EXIT_FAILURE, Session, with_session
from actors.cli.shards import age
from bus.connection import NatsTransport
from bus.errors import problem
from bus.jetstream.bus import system_clock
from bus.projection import projection_states, rebuild
from schemas.fleet import ProjectionState

LISTEN_SECONDS = 0.5
PATIENCE_SECONDS = 600.0

TITLES = ("projection", "state", "behind", "position", "newest", "megabytes", "process", "file")


@click.group()
def projections() -> None:
    """Look at the tables that are made from journals, and make them anew.

    For operators: it needs a user of the fleet.
    """


@projections.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def status(session: Session, *, as_json: bool) -> None:
    """List every copy and how far it has come. Exits with 0 only if none is refused."""
    found = session.run_as_fleet(_states)
    if as_json:
        rendering.json(found)
    else:
        rendering.table(TITLES, (_row(state, system_clock()) for state in found))
        for state in found:
            if state.reason:
                rendering.line(f"{state.projection} of {state.process}: {state.reason}")
    if any(state.state == "refused" for state in found):
        raise click.exceptions.Exit(EXIT_FAILURE)


@projections.command(name="rebuild")
@click.argument("name", metavar="PROJECTION")
@with_session
def rebuild_(session: Session, name: str) -> None:
    """Throw away every copy of PROJECTION, make it anew from its journal, and wait for that."""
    found = session.run_as_fleet(lambda transport: _rebuilt(transport, name))
    for state in found:
        rendering.line(f"{state.file}: {state.state} at {state.position}")


async def _states(transport: NatsTransport) -> list[ProjectionState]:
    return await projection_states(transport, seconds=LISTEN_SECONDS)


async def _rebuilt(transport: NatsTransport, name: str) -> list[ProjectionState]:
    if not any(state.projection == name for state in await _states(transport)):
        raise problem("not_found", f"no process keeps a projection {name}")
    await rebuild(transport, name)
    with anyio.fail_after(PATIENCE_SECONDS):
        while True:
            found = [state for state in await _states(transport) if state.projection == name]
            if found and all(state.state != "catching_up" for state in found):
                return found


def _row(state: ProjectionState, now: datetime) -> tuple[object, ...]:
    return (
        state.projection,
        state.state,
        state.behind_commits,
        state.position,
        age(state.applied_at, now),
        f"{state.file_bytes / 1e6:.1f}",
        state.process,
        state.file,
    )

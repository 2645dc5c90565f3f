"""``callboard shards``: who owns what, and how far it has come.

Nothing of this is stored, because a stored list would be wrong when it is needed. The command asks
all processes and reads the end of each journal, so it works with half a fleet; a process that hangs
is missing from the answer.
"""

from datetime import datetime

import click

from actors.cli import rendering
from actors.cli.journals import ASK_SECONDS, count_of, entities_of, expect_journal, head
from actors.cli.session import EXIT_FAILURE, Session, with_session
from bus.connection import NatsTransport
from bus.errors import problem
from bus.jetstream.bus import system_clock
from bus.shard.report import ShardRow, owned_shards, rows

TITLES = (
    "entity",
    "shard",
    "state",
    "owner",
    "epoch",
    "backlog",
    "open work",
    "corrupt",
    "commit",
    "age",
    "snapshot",
    "its age",
)


@click.command()
@click.option("--entity", help="Only the shards of this entity type, such as execution.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def shards(session: Session, entity: str | None, *, as_json: bool) -> None:
    """List every shard with its owner, also those that nobody owns.

    Backlog counts the commands that wait for a turn, open work the items at workers, corrupt the
    entities that could not be read and take no more commands (see `callboard dead list`). Commit
    and snapshot are numbers of commits in the journal. Exits with 0 only if every shard is served.

    For operators: it needs a user of the fleet.
    """
    found = session.run_as_fleet(lambda transport: _rows(session, transport, entity))
    if as_json:
        rendering.json(found)
    else:
        _show(found)
    served = {(row.entity, row.shard) for row in found if row.state == "serving"}
    if served != {(row.entity, row.shard) for row in found}:
        raise click.exceptions.Exit(EXIT_FAILURE)


async def _rows(session: Session, transport: NatsTransport, entity: str | None) -> list[ShardRow]:
    names = await _entities(transport, entity)
    said = await owned_shards(transport, seconds=ASK_SECONDS)
    found: list[ShardRow] = []
    for name in names:
        count = count_of(name, said, session)
        known = {shard: await head(transport, name, shard) for shard in range(count)}
        heads = {shard: end for shard, end in known.items() if end is not None}
        found += rows(name, count, said, heads)
    return found


async def _entities(transport: NatsTransport, entity: str | None) -> list[str]:
    if entity is not None:
        await expect_journal(transport, entity)
        return [entity]
    found = await entities_of(transport)
    if not found:
        raise problem("not_found", "there are no journals: no fleet has ever run on this bus")
    return found


def _show(found: list[ShardRow]) -> None:
    now = system_clock()
    table = (
        (
            row.entity,
            row.shard,
            row.state,
            row.owner,
            row.epoch,
            row.backlog,
            row.open_work,
            row.corrupt,
            row.commit,
            age(row.committed_at, now),
            row.snapshot,
            age(row.snapshot_at, now),
        )
        for row in found
    )
    rendering.table(TITLES, table)
    for row in found:
        if row.unreadable:
            count = f"{row.unreadable} commits of {row.entity}.{row.shard}"
            rendering.line(f"{count} cannot be read, and were passed over")
        if row.reason:
            rendering.line(f"{row.entity}.{row.shard} refused by {row.owner}: {row.reason}")


def age(at: datetime | None, now: datetime) -> str:
    """Return how long ago something was, in the unit that fits: ``1.2 s``, ``3 h``. Pure."""
    if at is None:
        return ""
    seconds = max((now - at).total_seconds(), 0.0)
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{seconds:.1f} s"

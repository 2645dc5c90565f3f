"""``callboard journal``: what is stored of one entity, and the snapshots of shards."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

import click
import msgspec

from actors.cli import rendering
from actors.cli.journals import archive_of, at_rest, blobs_of, head, shards_of, snapshot_of
from actors.cli.session import Session, with_session
from actors.fleet.declared import entity as entity_of
from bus.codec import decode, encode
from bus.config import Timing
from bus.connection import NatsTransport
from bus.errors import ProblemError, problem
from bus.ids import new_id
from bus.ports import Blobs
from bus.requests.rpc import Owners
from bus.shard.fetching import fetched, parts_of
from bus.shard.history import History, Moment
from bus.shard.quarantine import reason_of, skip_command
from bus.subjects import journal_subject, shard_of
from schemas.base import Value
from schemas.ids import PLATFORM
from schemas.journal import NOTHING, Commit, CorruptSkipped, Entry, SnapshotRef


class SnapshotView(Value):
    """A snapshot as it is listed."""

    shard: int
    ref: SnapshotRef
    at: str
    version: int
    entities: int
    size: int


ANSWER_SECONDS = 10.0

TITLES = ("shard", "commit", "sequence", "taken at", "version", "entities", "bytes", "blob")


@click.group()
def journal() -> None:
    """Read the journals: the history of one entity, its state at any moment, snapshots.

    For operators: it needs a user of the fleet, and shows prompts and answers of all tenants.
    """


@journal.command()
@click.argument("entity", metavar="ENTITY")
@click.argument("key", metavar="[KEY]", required=False)
@click.option("--at", type=click.IntRange(1), metavar="SEQ", help="Its state after this sequence.")
@click.option(
    "--platform", is_flag=True, help="Of the platform, whose account is over all tenants."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def show(
    session: Session,
    entity: str,
    key: str | None,
    at: int | None,
    *,
    platform: bool,
    as_json: bool,
) -> None:
    """Print the history of one entity in time order, such as `execution <its id>`.

    `account` needs no key: a tenant has one, and the platform as well. The tenant is that of the
    session. SEQ is a sequence of the journal, as the history shows it; with --at the state after it
    is printed instead, as JSON and as it was stored.
    """
    key = _key(entity, key)
    session = replace(session, tenant=PLATFORM) if platform else session
    if at is not None:
        rendering.json(session.run_as_fleet(lambda bus: _state(bus, session, entity, key, at)))
        return
    moments = session.run_as_fleet(lambda bus: _moments(bus, session, entity, key))
    if as_json:
        rendering.json(moments)
    else:
        for moment in moments:
            _show(moment)


@journal.command()
@click.argument("entity", metavar="ENTITY")
@click.argument("shard", metavar="[SHARD]", type=click.IntRange(0), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def snapshots(session: Session, entity: str, shard: int | None, *, as_json: bool) -> None:
    """List the newest snapshot of each shard, or of one."""
    found = session.run_as_fleet(lambda bus: _snapshots(bus, session, entity, shard))
    if as_json:
        rendering.json(found)
        return
    rows = (
        (x.shard, x.ref.n, x.ref.sequence, x.at, x.version, x.entities, x.size, x.ref.blob)
        for x in found
    )
    rendering.table(TITLES, rows)


@journal.command()
@click.argument("entity", metavar="ENTITY")
@click.argument("key", metavar="[KEY]", required=False)
@click.option("--platform", is_flag=True, help="Of the platform.")
@with_session
def skip(session: Session, entity: str, key: str | None, *, platform: bool) -> None:
    """Let a corrupt entity go on from the last state of it that can be read.

    An entity of which something cannot be read takes no commands, and answers `corrupt`. What lies
    between its last readable state and now is skipped for good: look at `journal show` first. An
    execution has ended as failed with the damage; it only settles what it owes.
    """
    key = _key(entity, key)
    session = replace(session, tenant=PLATFORM) if platform else session
    answer = session.run_as_fleet(lambda bus: _skip(bus, session, entity, key))
    state = "anew: no state of it can be read" if answer.anew else "from its last readable state"
    rendering.line(f"{entity} {key} goes on {state}")


# Reading


def _key(entity: str, key: str | None) -> str:
    key = key or entity_of(entity).only_key
    if key is None:
        raise click.UsageError(f"Missing argument 'KEY': which {entity}?")
    return key


async def _skip(bus: NatsTransport, session: Session, entity: str, key: str) -> CorruptSkipped:
    owners = Owners(bus, entity, await shards_of(bus, session, entity), Timing())
    envelope = skip_command(new_id(), (session.tenant, key))
    return decode(CorruptSkipped, await owners.ask(envelope, timeout=ANSWER_SECONDS))


async def _moments(bus: NatsTransport, session: Session, entity: str, key: str) -> list[Moment]:
    history = History(entity_of(entity), session.tenant, key)
    async with aclosing(_told(bus, session, history, entity, key)) as moments:
        found = [moment async for moment in moments]
    if not found:
        raise problem(
            "not_found", f"the journal holds nothing of {entity} {key} of {session.tenant}"
        )
    return found


async def _state(
    bus: NatsTransport, session: Session, entity: str, key: str, at: int
) -> msgspec.Raw:
    history, state = History(entity_of(entity), session.tenant, key), None
    async with aclosing(_told(bus, session, history, entity, key)) as moments:
        async for moment in moments:
            if moment.sequence > at:
                break
            state = history.state
    if state is None:
        raise problem("not_found", f"no state of {entity} {key} is known at sequence {at}")
    return msgspec.Raw(encode(state))


async def _told(
    bus: NatsTransport, session: Session, history: History, entity: str, key: str
) -> AsyncGenerator[Moment]:
    """Read the shard's commits and yield what concerns the entity."""
    shard = shard_of(session.tenant, key, await shards_of(bus, session, entity))
    archive, blobs = archive_of(bus, entity), blobs_of(bus)
    newest = await head(bus, entity, shard)
    ref = newest.newest.snapshot if newest else None
    async for stored in archive.commits(shard, whole=entity_of(entity).archives):
        commit, damaged, _ = stored.found
        for entry in commit.entries if commit is not None else ():
            if commit is not None and history.concerns(entry):
                yield await _moment(history, stored.sequence, commit, entry, blobs)
        if (session.tenant, key) in damaged:
            reason = damaged[session.tenant, key]
            yield history.unreadable(stored.sequence, commit, reason)
        is_there = ref is not None and commit is not None and commit.n == ref.n
        if ref is not None and is_there and not history.is_whole:
            snapshot, _ = await snapshot_of(bus, ref)
            for slot in filter(history.concerns, snapshot.slots):
                parts = await parts_of([slot], journal_subject(entity, shard), blobs)
                history.adopt(slot, snapshot.version, parts)
            if history.lies_in(snapshot.sleepers):
                history.wake(await at_rest(bus, entity, shard, (session.tenant, key)), ref.n)


async def _moment(
    history: History, sequence: int, commit: Commit, entry: Entry, blobs: Blobs
) -> Moment:
    try:
        return history.add(sequence, commit, await fetched(entry, blobs))
    except ProblemError as error:
        return history.unreadable(sequence, commit, reason_of(error))


async def _snapshots(
    bus: NatsTransport, session: Session, entity: str, shard: int | None
) -> list[SnapshotView]:
    every = range(await shards_of(bus, session, entity))
    if shard is not None and shard not in every:
        raise problem("not_found", f"the shards of {entity} are 0 to {every[-1]}", field="shard")
    wanted = every if shard is None else [shard]
    found: list[SnapshotView] = []
    for number in wanted:
        known = await head(bus, entity, number)
        if known is None or known.newest.snapshot is None:
            continue
        ref = known.newest.snapshot
        image, size = await snapshot_of(bus, ref)
        found.append(
            SnapshotView(
                shard=number,
                ref=ref,
                at=f"{image.at:%Y-%m-%d %H:%M:%S}",
                version=image.version,
                entities=len(image.slots) + len(image.sleepers),
                size=size,
            )
        )
    return found


# Showing


def _show(moment: Moment) -> None:
    when = f"{moment.at:%Y-%m-%d %H:%M:%S}.{moment.at.microsecond // 1000:03}"
    place = f"sequence {moment.sequence}  commit {moment.n}  epoch {moment.epoch}"
    command = " ".join(part for part in (moment.kind or "command", moment.command) if part)
    rendering.line(f"{when}  ", rendering.styled(command, bold=True), f"  ({place})")
    for name in ("by", "cause", "trace", "seal"):
        if value := getattr(moment, name):
            rendering.line(f"  {name:5}  {value}")
    for event in moment.events:
        rendering.line(f"  event  {event_line(event)}")
    for effect in moment.opened:
        rendering.line(f"  opens  {effect.to} {effect.id}")
    for effect in moment.closed:
        rendering.line(f"  closes {effect.to} {effect.id}")
    if moment.reply is not NOTHING:
        rendering.line(f"  reply  {bytes(moment.reply).decode(errors='replace')}")
    if moment.corrupt:
        rendering.line(f"  corrupt  {moment.corrupt}")


def event_line(event: msgspec.Raw) -> str:
    """Return an event as its type and the rest of its fields. Pure."""
    try:
        fields = decode(dict[str, msgspec.Raw], event)
        kind = decode(str, fields.pop("type"))
    except (ProblemError, KeyError):
        return bytes(event).decode(errors="replace")
    return f"{kind} {encode(fields).decode(errors='replace')}"

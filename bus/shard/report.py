"""What stands where: the shards of an entity as their owners and the journal tell of them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Literal

import msgspec

from bus.ports import Transport
from bus.requests.ask_all import Patience, ask_all
from schemas.base import Value
from schemas.fleet import SHARDS_SUBJECT, OwnedShard, OwnedShards
from schemas.journal import Commit

LEAST_SECONDS = 0.3
"""So long a second process that believes to own a shard may take to say so."""

ShardState = Literal["serving", "recovering", "refused", "fenced", "no owner"]


class ShardRow(Value):
    """One shard, as far as it is known.

    ``commit`` and ``snapshot`` are numbers of commits in the journal, ``owner`` is a process.
    ``fenced`` is an owner whose epoch has passed and who does not know it yet.
    """

    entity: str
    shard: int
    state: ShardState
    owner: str | None = None
    epoch: int | None = None
    backlog: int | None = None
    entities: int | None = None
    open_work: int | None = None
    corrupt: int | None = None
    unreadable: int | None = None
    commit: int | None = None
    committed_at: datetime | None = None
    snapshot: int | None = None
    snapshot_at: datetime | None = None
    reason: str | None = None


class JournalHead(Value):
    """The end of a shard's journal: its newest commit, and when the newest snapshot was taken."""

    newest: Commit
    snapshot_at: datetime | None = None


def are_complete(said: Sequence[OwnedShards]) -> bool:
    """Say whether of each entity that was named every shard is served. Pure."""
    served = {(each.entity, owned.shard) for each in said for owned in each.owned if owned.serving}
    wanted = {(each.entity, shard) for each in said for shard in range(each.shards)}
    return bool(said) and wanted <= served


async def owned_shards(transport: Transport, *, seconds: float) -> list[OwnedShards]:
    """Ask every process of the fleet what it owns, for at most ``seconds``.

    It is enough when all shards are served, but not before others had time to speak, too.
    """
    return await ask_all(
        transport,
        SHARDS_SUBJECT,
        b"",
        OwnedShards,
        Patience(seconds, least=LEAST_SECONDS),
        enough=are_complete,
    )


def rows(
    entity: str, shards: int, said: Sequence[OwnedShards], heads: Mapping[int, JournalHead]
) -> list[ShardRow]:
    """Return a row for each shard, and more than one where several processes name it. Pure.

    ``shards`` counts at least so many, also where nobody answers.
    """
    answers = [answer for answer in said if answer.entity == entity]
    count = max(chain([shards], (answer.shards for answer in answers), (n + 1 for n in heads)))
    return [row for shard in range(count) for row in _of_shard(entity, shard, answers, heads)]


def _of_shard(
    entity: str, shard: int, answers: Sequence[OwnedShards], heads: Mapping[int, JournalHead]
) -> list[ShardRow]:
    stored = _stored(entity, shard, heads.get(shard))
    claims = [
        _claimed(stored, answer.process, owned)
        for answer in answers
        for owned in answer.owned
        if owned.shard == shard
    ]
    is_owned = any(row.state in ("serving", "recovering") for row in claims)
    return claims if is_owned else [stored, *claims]


def _stored(entity: str, shard: int, head: JournalHead | None) -> ShardRow:
    """Return what the journal knows of a shard."""
    row = ShardRow(entity=entity, shard=shard, state="no owner")
    if head is None:
        return row
    newest = head.newest
    return msgspec.structs.replace(
        row,
        epoch=newest.epoch,
        commit=newest.n,
        committed_at=newest.at,
        snapshot=newest.snapshot.n if newest.snapshot else None,
        snapshot_at=head.snapshot_at,
    )


def _claimed(stored: ShardRow, process: str, owned: OwnedShard) -> ShardRow:
    """Add what a process says of a shard to what the journal knows."""
    row = msgspec.structs.replace(stored, owner=process)
    if not owned.serving:
        state = "refused" if owned.refused else "recovering"
        return msgspec.structs.replace(row, state=state, reason=owned.refused)
    is_past = stored.epoch is not None and owned.epoch < stored.epoch
    return msgspec.structs.replace(
        row,
        state="fenced" if is_past else "serving",
        epoch=owned.epoch,
        backlog=owned.backlog,
        entities=owned.entities,
        open_work=owned.open_work,
        corrupt=owned.corrupt,
        unreadable=owned.unreadable,
    )

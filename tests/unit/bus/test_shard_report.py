"""What ``callboard shards`` shows, made of what owners say and what the journal holds."""

from datetime import UTC, datetime, timedelta

import pytest

from actors.cli.shards import age
from bus.shard.report import JournalHead, ShardRow, rows
from schemas.fleet import OwnedShard, OwnedShards
from schemas.journal import Commit, SnapshotRef

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EARLIER = AT - timedelta(minutes=3)
SNAPSHOT = SnapshotRef(blob="ab", n=20, sequence=40)


def head(*, epoch: int = 3, snapshot: SnapshotRef | None = None) -> JournalHead:
    newest = Commit(n=25, epoch=epoch, turn="t", at=AT, snapshot=snapshot)
    return JournalHead(newest=newest, snapshot_at=EARLIER if snapshot else None)


def said(process: str, *owned: OwnedShard, shards: int = 1) -> OwnedShards:
    return OwnedShards(process=process, entity="execution", shards=shards, owned=list(owned))


def test_an_owned_shard_shows_its_owner_and_how_far_it_has_come():
    serving = OwnedShard(
        shard=0, serving=True, epoch=3, commit=25, backlog=4, entities=7, open_work=2
    )

    assert rows("execution", 1, [said("one", serving)], {0: head(snapshot=SNAPSHOT)}) == [
        ShardRow(
            entity="execution",
            shard=0,
            state="serving",
            owner="one",
            epoch=3,
            backlog=4,
            entities=7,
            open_work=2,
            corrupt=0,
            unreadable=0,
            commit=25,
            committed_at=AT,
            snapshot=20,
            snapshot_at=EARLIER,
        )
    ]


def test_a_shard_that_nobody_names_is_shown_with_what_its_journal_holds():
    assert rows("execution", 2, [], {1: head()}) == [
        ShardRow(entity="execution", shard=0, state="no owner"),
        ShardRow(
            entity="execution", shard=1, state="no owner", epoch=3, commit=25, committed_at=AT
        ),
    ]


def test_shards_are_counted_by_whoever_knows_of_most():
    assert len(rows("execution", 2, [said("one", shards=5)], {7: head()})) == 8


def test_an_owner_whose_epoch_has_passed_is_fenced_and_does_not_count():
    zombie = OwnedShard(shard=0, serving=True, epoch=2)

    found = rows("execution", 1, [said("one", zombie)], {0: head(epoch=3)})

    assert [(row.state, row.owner, row.epoch) for row in found] == [
        ("no owner", None, 3),
        ("fenced", "one", 2),
    ]


def test_a_refusal_says_why_and_the_shard_stays_without_owner():
    refused = OwnedShard(shard=0, serving=False, refused="commit 7 follows commit 5")

    found = rows("execution", 1, [said("one", refused)], {})

    assert [(row.state, row.owner, row.reason) for row in found] == [
        ("no owner", None, None),
        ("refused", "one", "commit 7 follows commit 5"),
    ]


def test_a_shard_that_is_being_taken_over_has_an_owner():
    found = rows("execution", 1, [said("one", OwnedShard(shard=0, serving=False))], {0: head()})

    assert [(row.state, row.owner, row.backlog) for row in found] == [("recovering", "one", None)]


def test_what_is_said_of_another_entity_does_not_count():
    other = OwnedShards(
        process="one", entity="account", shards=9, owned=[OwnedShard(shard=0, serving=True)]
    )

    assert [row.state for row in rows("execution", 1, [other], {})] == ["no owner"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (119, "119.0 s"), (120, "2 min"), (7200, "2 h"), (86_400 * 3, "3 d")],
)
def test_an_age_is_said_in_the_unit_that_fits(seconds: float, text: str):
    assert age(AT - timedelta(seconds=seconds), AT) == text


def test_a_moment_ahead_of_our_clock_is_now():
    assert (age(AT + timedelta(seconds=1), AT), age(None, AT)) == ("0.0 s", "")

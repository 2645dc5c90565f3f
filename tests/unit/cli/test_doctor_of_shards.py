"""What doctor says of shards."""

from actors.cli.checks import shards
from schemas.fleet import OwnedShard, OwnedShards


def said(*owned: OwnedShard, count: int = 2) -> OwnedShards:
    return OwnedShards(process="p", entity="execution", shards=count, owned=list(owned))


def test_served_shards_are_well_whatever_is_corrupt_in_them():
    found = shards(
        [said(OwnedShard(shard=0, serving=True, corrupt=2), OwnedShard(shard=1, serving=True))],
        {"execution": 1},
    )
    assert found.ok
    assert "2 of 2 served; 2 entities are corrupt" in found.detail


def test_a_shard_that_nobody_serves_is_a_fault():
    refused = OwnedShard(shard=1, serving=False, refused="a gap")
    for owned in (
        (OwnedShard(shard=0, serving=True),),
        (OwnedShard(shard=0, serving=True), refused),
    ):
        found = shards([said(*owned)], {"execution": 1})
        assert not found.ok
        assert found.detail == "1 of 2 served; nobody serves execution.1"


def test_an_entity_of_which_nobody_speaks_is_a_fault():
    assert not shards([], {"account": 1}).ok
    assert shards([], {}).ok


def test_commits_that_were_passed_over_are_said():
    found = shards(
        [said(OwnedShard(shard=0, serving=True, unreadable=3), count=1)], {"execution": 1}
    )
    assert (found.ok, "3 commits cannot be read" in found.detail) == (True, True)

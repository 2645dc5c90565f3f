"""The history of one entity is told from the commits of its shard."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from bus.codec import encode
from bus.errors import ProblemError
from bus.ports import Resting
from bus.shard.history import History, Moment, Outstanding
from schemas.journal import NOTHING, AtRest, Commit, Entry, Sleeper, SlotImage
from tests.unit.bus.shard_entity import ENTITY, Added, Counter, Woken
from tests.unit.bus.test_parts import PILE, Pile

AT = datetime(2026, 1, 2, tzinfo=UTC)


def entry(*events: Added | Woken, **more: Any) -> Entry:
    raws = [msgspec.Raw(encode(event)) for event in events]
    return Entry(tenant="acme", key="c", command="1", kind="add", events=raws, **more)


def commit(n: int, *entries: Entry) -> Commit:
    return Commit(n=n, epoch=2, turn="t", at=AT, entries=list(entries))


def test_a_moment_tells_the_command_its_events_and_what_they_open_and_close():
    history = History(ENTITY, "acme", "c")
    first, second = entry(Added(amount=12)), entry(Added(amount=-5))

    opened = history.add(40, commit(7, first), first)
    closed = history.add(41, commit(8, second), second)

    work = Outstanding(id="work-12", to="q")
    assert opened == Moment(
        sequence=40,
        n=7,
        epoch=2,
        at=AT,
        command="1",
        kind="add",
        events=first.events,
        opened=[work],
        reply=NOTHING,
    )
    assert (closed.opened, closed.closed) == ([], [work])
    assert history.state == Counter(total=7)


def test_the_state_of_what_was_at_rest_is_taken_unless_it_tells_more_than_was_asked_for():
    at_rest = AtRest(version=1, n=3, last=7, state=msgspec.Raw(b'{"total":5}'))
    resting = Resting("acme", "c", 3, encode(at_rest))
    history = History(ENTITY, "acme", "c")

    history.wake(resting, 6)
    assert history.state is None
    history.wake(resting, 7)
    assert history.state == Counter(total=5)
    assert history.lies_in([Sleeper(tenant="acme", key="c", n=3)])
    assert not history.lies_in([Sleeper(tenant="acme", key="d", n=3)])


def test_entries_of_others_do_not_concern_it():
    history = History(ENTITY, "acme", "c")
    mine = entry(Added(amount=1))

    assert [
        history.concerns(msgspec.structs.replace(mine, **change))
        for change in ({}, {"tenant": "globex"}, {"key": "d"})
    ] == [True, False, False]


def test_a_state_that_came_from_a_record_is_where_the_events_go_on():
    history = History(ENTITY, "acme", "c")
    based = entry(Added(amount=1), base=msgspec.Raw(b'{"total":5}'))

    history.add(1, commit(1, based), based)

    assert history.state == Counter(total=6)


def test_a_life_that_began_before_the_journal_goes_on_from_a_snapshot():
    history = History(ENTITY, "acme", "c")
    image = SlotImage(tenant="acme", key="c", state=msgspec.Raw(b'{"total":5}'))
    early, later = entry(Added(amount=1), n=4), entry(Added(amount=1), n=5)

    told = history.add(8, commit(8, early), early)
    unknown = history.state
    history.adopt(image, 1, {})
    history.add(9, commit(9, later), later)

    assert (told.events, told.opened, unknown) == (early.events, [], None)
    assert history.state == Counter(total=6)


def test_of_an_entity_that_begins_with_a_state_the_parts_of_a_snapshot_are_put_together():
    history = History(replace(PILE, initial=lambda _tenant, _key: Pile(total=100)), "acme", "c")
    image = SlotImage(
        tenant="acme", key="c", state=msgspec.Raw(encode(Pile(total=9, layers=[b""]))), parts=["p"]
    )
    early, later = entry(Added(amount=1), n=4), entry(Added(amount=1), n=5)

    history.add(8, commit(8, early), early)
    assert not history.is_whole
    with pytest.raises(ProblemError, match="1 parts"):
        history.adopt(image, 1, {})
    history.adopt(image, 1, {"p": b"layer 9"})
    history.add(9, commit(9, later), later)

    assert history.state == Pile(total=10, layers=[b"layer 9"])


def test_a_history_that_has_the_first_entry_needs_no_snapshot():
    history = History(ENTITY, "acme", "c")
    first = entry(Added(amount=1), n=1)
    history.add(1, commit(1, first), first)
    assert history.is_whole

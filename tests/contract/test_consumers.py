"""What the actors declare fits together: each request, queue and store has one actor behind it."""

from collections import Counter
from pathlib import Path

import pytest

from actors.fleet.declared import actors, streams
from actors.fleet.plan import REPLICAS
from bus.actor import Actor
from bus.config import Timing
from bus.streams.spec import inbox_spec
from schemas import catalog
from tests.architecture.tree import ROOT
from tests.architecture.tree import actors as packages

ACTORS = actors()


def counted(*named: list[str]) -> Counter[str]:
    return Counter(name for names in named for name in names)


def test_every_actor_of_the_house_can_be_run_and_is_declared_under_its_name():
    assert {folder.name for folder in packages()} == set(REPLICAS)
    assert [actor.name for actor in ACTORS] == list(REPLICAS)


def test_every_request_has_one_consumer_and_a_reply():
    answered = counted(*([kind.SUBJECT for kind in actor.requests] for actor in ACTORS))

    assert answered == Counter(row.name for row in catalog.requests())
    assert all(row.reply.__doc__ for row in catalog.requests())


def test_every_entity_and_every_projection_of_its_journal_has_one_owner():
    entities = counted(*([each.name for each in actor.entities] for actor in ACTORS))
    projected = {each.entity for actor in ACTORS for each in actor.projections}

    assert set(entities.values()) == {1}
    assert projected <= set(entities)
    assert {name for actor in ACTORS for name in actor.asks} <= set(entities)


def test_every_store_has_one_owner_and_lives_as_long_as_it():
    owned = counted(*([each.bucket for each in actor.stores] for actor in ACTORS))
    followed = {each.store.bucket for actor in ACTORS for each in actor.follows}

    assert set(owned.values()) == {1}
    assert followed <= set(owned)


def test_every_stream_is_there_for_one_actor_or_for_all():
    names = counted([spec.name for spec in streams()])

    assert set(names.values()) == {1}


def test_every_queue_has_one_worker():
    queues = counted(*([job.queue for job in actor.jobs] for actor in ACTORS))

    assert set(queues.values()) == {1}


MEBIBYTE = 1024**2
TENANTS = 500
"""Inboxes at most, unless an operator says otherwise."""


def test_all_reservations_fit_the_server_that_is_configured_with_room_for_actors_to_come():
    configured = (ROOT / "nats.conf").read_text(encoding="utf-8")
    store = next(line for line in configured.splitlines() if "max_file_store:" in line)
    gigabytes = int(store.split(":")[1].strip().removesuffix("GB"))
    reserved = sum(spec.max_bytes for spec in streams())
    inboxes = TENANTS * inbox_spec("acme", Timing()).max_bytes

    assert reserved + inboxes <= 0.8 * gigabytes * 10**9


@pytest.mark.parametrize("actor", ACTORS, ids=lambda actor: actor.name)
def test_the_program_of_an_actor_is_its_declaration(actor: Actor):
    program = Path(ROOT / "actors" / actor.name / "__main__.py").read_text(encoding="utf-8")

    assert len(program.splitlines()) <= 10
    assert "main(ACTOR, __doc__)" in program

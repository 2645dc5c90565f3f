import msgspec

from actors.agents.core.listing import summary
from bus.kv.roster import Roster
from schemas.agents import Prompts
from tests.unit.agents.samples import NOW, agent


def test_a_kept_definition_is_found_and_listed():
    roster = Roster(summary)

    roster.keep("acme", agent(), 5)

    assert roster.find("acme", "reviewer") == agent()
    assert roster.rows("acme") == [summary(agent())]


def test_tenants_are_apart():
    roster = Roster(summary)

    roster.keep("acme", agent(), 5)

    assert roster.find("umbrella", "reviewer") is None
    assert roster.rows("umbrella") == []


def test_an_older_revision_never_replaces_a_newer_one():
    roster = Roster(summary)
    newer = agent(version=2, name="Critic")

    roster.keep("acme", newer, 9)
    roster.keep("acme", agent(), 5)
    roster.removed("acme.reviewer", 7)

    assert roster.find("acme", "reviewer") == newer
    assert roster.rows("acme") == [summary(newer)]


def test_a_deleted_agent_is_found_but_not_listed():
    roster = Roster(summary)
    deleted = agent(version=2, deleted_at=NOW)

    roster.keep("acme", agent(), 5)
    roster.keep("acme", deleted, 6)

    assert roster.find("acme", "reviewer") == deleted
    assert roster.rows("acme") == []


def test_a_removed_agent_is_neither_found_nor_listed():
    roster = Roster(summary)

    roster.keep("acme", agent(), 5)
    roster.removed("acme.reviewer", 6)

    assert roster.find("acme", "reviewer") is None
    assert roster.rows("acme") == []


def test_a_cleared_roster_takes_anything_in_again():
    roster = Roster(summary)
    roster.keep("acme", agent(version=3), 500)

    roster.cleared()
    roster.keep("acme", agent(), 1)

    assert roster.rows("acme") == [summary(agent())]


def test_the_definitions_least_used_leave_memory_while_their_rows_stay():
    large = Prompts(system="x" * 1000)
    one, two, three = (agent(id=id_, prompts=large) for id_ in ("one", "two", "three"))
    roster = Roster(summary, capacity=int(2.5 * len(msgspec.json.encode(three))))

    roster.keep("acme", one, 1)
    roster.keep("acme", two, 2)
    roster.find("acme", "one")
    roster.keep("acme", three, 3)

    found = {id_: roster.find("acme", id_) for id_ in ("one", "two", "three")}
    assert found == {"one": one, "two": None, "three": three}
    assert len(roster.rows("acme")) == 3


def test_a_definition_that_is_kept_again_is_counted_once():
    definition = agent(prompts=Prompts(system="x" * 1000))
    roster = Roster(summary, capacity=len(msgspec.json.encode(definition)) + 100)

    for revision in range(10):
        roster.keep("acme", definition, revision)

    assert roster.find("acme", "reviewer") == definition

"""The terms of an account: made when a rule changes, outstanding until the bucket holds them."""

from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.adapters.account import account_entity
from actors.pricing.adapters.notifying import TermsNotifier
from actors.pricing.core import ledger
from actors.pricing.core.decisions import LedgerRules
from bus.codec import encode
from bus.config import Timing
from bus.errors import ProblemError
from bus.kv import BucketEntry, MemoryBucket
from bus.kv.terms import KnownTerms, TermsHearer
from bus.memory import memory_bus
from schemas.budgets import Limits
from schemas.decision import Ask
from schemas.fleet import Alive
from schemas.ids import PLATFORM
from schemas.ledger import DropBudget, LookAtTerms, TermsAnswered
from schemas.terms import Restriction, Terms, TermsKept
from tests.simulation.loop import VirtualLoop
from tests.unit.bus.test_terms import Behind
from tests.unit.pricing.owner import PLAIN, Owner

ENTITY = account_entity()
SCOPES = [("global", None), ("user", "ann"), ("user", "*"), ("project", "apollo")]


def asks(owner: Owner) -> list[Ask]:
    return [each for each in ENTITY.effects(owner.state) if isinstance(each, Ask)]


def stored(owner: Owner) -> None:
    """Let the bucket store whatever is asked of it."""
    for ask in asks(owner):
        kept = TermsKept(revision=ask.command.terms.revision)
        owner.ask(ENTITY.answered(ask, encode(kept)))


# What they are


@given(st.lists(st.tuples(st.sampled_from(SCOPES), st.sampled_from("bsxl"), st.integers(0, 2))))
def test_whoever_is_restricted_by_what_stands_is_named_once(steps: list[Any]):
    owner, budgets, limits = Owner(), dict[str, Any](), dict[Any, bool]()
    for (scope, name), what, number in steps:
        key = f"{scope}-{name}-{number}"
        if what == "x":
            owner.ask(DropBudget(id=key))
            budgets.pop(key, None)
        elif what == "l":
            owner.limits(scope=scope, name=name, concurrent=number or None)
            limits[scope, name] = number > 0
        else:
            owner.budget(key, scope=scope, name=name, hard=what == "b")
            budgets[key] = (scope, name) if what == "b" else None

    hard = {each for each in budgets.values() if each is not None}
    limited = {each for each, restricts in limits.items() if restricts}
    found = owner.state.terms.restrictions
    assert {(each.scope, each.name) for each in found} == hard | limited
    assert {(each.scope, each.name) for each in found if each.money} == hard
    assert len(found) == len(hard | limited)


def test_the_operators_limits_and_all_budgets_of_the_platform_restrict():
    limited = Owner(LedgerRules(zones=PLAIN.zones, limits=Limits(requests_per_minute=9)))
    limited.settle("e1")
    platform = Owner(tenant=PLATFORM)
    platform.budget("all", hard=False)

    assert limited.state.terms.restrictions == [Restriction()]
    assert platform.state.terms.restrictions == [Restriction(money=True)]


# When they are made


def test_terms_are_made_when_a_rule_changes_and_never_where_money_moves(
    monkeypatch: pytest.MonkeyPatch,
):
    made: list[int] = []
    restricted = ledger.restricted

    def counted(*arguments: Any, **options: Any) -> list[Restriction]:
        made.append(1)
        return restricted(*arguments, **options)

    monkeypatch.setattr(ledger, "restricted", counted)
    owner = Owner()
    for number in range(5):
        owner.budget(f"b{number}", scope="user", name=f"u{number}")
    stored(owner)
    rules = len(made)
    for number in range(200):
        owner.reserve(f"e{number}")
        owner.settle(f"e{number}")
        assert asks(owner) == []

    assert rules == len(made) > 0


def test_an_account_without_budgets_has_nothing_stored():
    owner = Owner()
    owner.settle("e1")
    owner.budget("soft", hard=False)

    assert asks(owner) == []
    assert owner.ask(LookAtTerms()) == Terms(tenant="acme", revision=0)


def test_a_rule_that_restricts_nobody_else_makes_no_new_terms():
    owner = Owner()
    owner.budget("a")
    before = owner.state.terms

    owner.budget("b", limit=7)
    owner.budget("c", hard=False)

    assert owner.state.terms == before


# Until they are stored


def test_new_terms_are_outstanding_until_the_bucket_has_answered():
    owner = Owner()
    owner.budget("a")
    (first,) = asks(owner)
    owner.budget("b", scope="user", name="ann")
    (second,) = asks(owner)

    owner.ask(ENTITY.answered(first, encode(TermsKept(revision=1))))
    assert asks(owner) == [second]
    owner.ask(ENTITY.answered(second, encode(TermsKept(revision=2))))

    assert asks(owner) == []
    assert (first.urgent, second.urgent) == (True, True)
    assert second.command.terms == owner.ask(LookAtTerms())
    assert owner.replayed().terms == owner.state.terms


def test_an_answer_that_comes_twice_changes_nothing():
    owner = Owner()
    owner.budget("a")
    stored(owner)
    events = len(owner.events)

    owner.ask(TermsAnswered(asked=1, revision=1))
    owner.ask(TermsAnswered(asked=7, revision=7))

    assert len(owner.events) == events


def test_an_account_begun_anew_outruns_what_an_earlier_one_has_stored():
    owner = Owner()
    owner.budget("a")
    (ask,) = asks(owner)

    owner.ask(ENTITY.answered(ask, encode(TermsKept(revision=40))))

    (again,) = asks(owner)
    assert again.command.terms == Terms(
        tenant="acme", revision=41, restrictions=[Restriction(money=True)]
    )
    stored(owner)
    assert asks(owner) == []


# Telling them


class Counted(MemoryBucket[Terms]):
    def __init__(self) -> None:
        super().__init__(Terms)
        self.log: list[str] = []

    async def get(self, key: str) -> BucketEntry[Terms] | None:
        self.log.append("get")
        return await super().get(key)

    async def put(self, key: str, value: Terms, *, expected: int) -> int:
        self.log.append("put")
        return await super().put(key, value, expected=expected)


def test_terms_are_stored_and_known_everywhere_without_waiting_for_any_timer():
    bucket, took = Counted(), list[float]()
    known = {name: KnownTerms(name) for name in ("agents-1", "streaming-1")}
    alive = [Alive(process=name, actor=name[:-2]) for name in (*known, "pricing-1")]

    async def tell() -> None:
        async with memory_bus() as world, world.process() as bus:
            notifier = TermsNotifier(bus, bucket, Timing(), lambda: alive)
            async with anyio.create_task_group() as tasks:
                for each in known.values():
                    followed: Any = Behind()
                    tasks.start_soon(TermsHearer(each, followed, bus.transport).run)
                await anyio.wait_all_tasks_blocked()
                began = anyio.current_time()
                for revision in (1, 2, 3):
                    terms = Terms(tenant="acme", revision=revision)
                    await notifier.notify(terms)
                took.append(anyio.current_time() - began)
                tasks.cancel_scope.cancel()

    anyio.run(tell, backend_options={"loop_factory": lambda: VirtualLoop(1)})

    assert took == [0.0]
    assert bucket.log == ["get", "put"] * 3
    assert [each.of("acme").revision for each in known.values()] == [3, 3]


@pytest.mark.parametrize(
    ("actor", "is_waited_for"), [("agents", True), ("streaming", False), ("pricing", False)]
)
def test_whoever_spends_has_to_say_that_it_knows(actor: str, is_waited_for: bool):
    bucket, refused = Counted(), list[str]()

    async def tell() -> None:
        async with memory_bus() as world, world.process() as bus:
            alive = [Alive(process="silent", actor=actor)]
            notifier = TermsNotifier(bus, bucket, Timing(), lambda: alive)
            try:
                await notifier.notify(Terms(tenant="acme", revision=1))
            except ProblemError as error:
                refused.append(error.problem.code)

    anyio.run(tell, backend_options={"loop_factory": lambda: VirtualLoop(1)})

    assert refused == (["unavailable"] if is_waited_for else [])
    assert bucket.log == ["get", "put"]


async def test_terms_of_an_account_that_restricts_nobody_are_not_stored():
    bucket = Counted()
    async with memory_bus() as world, world.process() as bus:
        await TermsNotifier(bus, bucket, Timing(), list).notify(Terms(tenant="a", revision=0))

    assert bucket.log == []

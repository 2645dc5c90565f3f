"""Laws of the platform's budget: tenants spend from blocks of it, and never more than all of it."""

from datetime import timedelta
from random import Random

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.pricing.core.blocks import IDLE, REMEMBERED, SIZE
from actors.pricing.core.decisions import LedgerRules
from actors.pricing.core.escrow import NONE, is_escrow
from schemas import pages
from schemas.escrow import Recalled
from schemas.ids import PLATFORM
from schemas.ledger import AlertRaised, Charged, Lapse, Lapsed, MoneyHeld, Reserved, Voided
from schemas.problems import Problem
from tests.unit.pricing.lenders import Lenders
from tests.unit.pricing.owner import PLAIN

TENANTS = ("acme", "bolt")
SECONDS = timedelta(seconds=1)


def spent(lenders: Lenders, tenant: str) -> int:
    """Return what a tenant has spent of the platform's money, by its own journal."""
    total = 0
    for event in lenders.owners[tenant].events:
        match event:
            case Charged() if any(map(is_escrow, event.accounts)):
                total += event.cost_pico - event.booked_pico
            case Lapsed() if any(map(is_escrow, event.accounts)):
                total += event.booked_pico
            case Voided() if any(map(is_escrow, event.accounts)):
                total -= event.booked_pico
            case _:
                pass
    return total


def held(lenders: Lenders, tenant: str) -> int:
    holds = pages.values(lenders.owners[tenant].state.holds)
    return sum(hold.amount_pico for hold in holds if any(map(is_escrow, hold.accounts)))


DOINGS = {
    "reserve": 8,
    "deliver": 12,
    "lose": 1,
    "again": 2,
    "settle": 4,
    "void": 1,
    "extend": 1,
    "wait": 2,
    "kill": 1,
}
"""How often what happens in a history: mostly that something arrives."""


@given(seed=st.integers(0, 2**32), cap=st.integers(20, 200), books=st.booleans())
@settings(max_examples=100, phases=[Phase.generate])
def test_all_tenants_together_never_exceed_the_platforms_budget(
    seed: int, cap: int, *, books: bool
):
    chance = Random(seed)
    lenders = Lenders(TENANTS, LedgerRules(zones=PLAIN.zones, books_lapsed=books))
    platform = lenders.owners[PLATFORM]
    platform.budget("all", cap, window="total")
    for what in chance.choices(list(DOINGS), list(DOINGS.values()), k=100):
        lenders.do(what, chance.choice(TENANTS), chance)
        together = sum(spent(lenders, each) + held(lenders, each) for each in TENANTS)
        assert together <= cap
    lenders.come_to_rest()

    assert all(held(lenders, each) == 0 for each in TENANTS)
    account = platform.account("all") if platform.accounts() else None
    booked = account.spent if account is not None else 0
    assert booked == sum(spent(lenders, each) for each in TENANTS)
    assert account is None or account.held == 0
    for owner in lenders.owners.values():
        assert owner.replayed().escrow == owner.state.escrow
        assert not owner.state.escrow.returns
        assert not owner.state.escrow.recalls


def test_no_platform_budget_no_message():
    lenders = Lenders(TENANTS)
    acme = lenders.owners["acme"]
    acme.budget("day", 100)
    assert isinstance(acme.reserve("e1", 10), MoneyHeld)
    acme.settle("e1", 5)
    acme.ask(Lapse(), seconds=60)
    assert acme.state.escrow is NONE
    assert lenders.open() == []


def test_a_block_is_asked_for_once_and_then_spent_from_locally():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 10**9, window="total")
    first = lenders.reserve("acme", "e0", 10)
    assert isinstance(first, Problem)
    assert (first.code, first.retryable) == ("unavailable", True)
    lenders.deliver_all()
    for number in range(20):
        assert isinstance(lenders.reserve("acme", f"e{number}", 10), MoneyHeld)
        assert lenders.open() == []
    (asked,) = (each for each in lenders.owners[PLATFORM].events if isinstance(each, Reserved))
    assert asked.amount_pico == 10 * SIZE


def test_the_next_block_is_there_before_the_last_is_empty():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 10**9, window="total")
    lenders.reserve("acme", "e", 10)
    lenders.deliver_all()
    for number in range(10 * SIZE):
        assert isinstance(lenders.reserve("acme", f"e{number}", 10), MoneyHeld)
        lenders.deliver_all()


def test_money_that_others_do_not_use_comes_back_before_anybody_is_refused():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 80, window="total")
    lenders.hold("acme", "e1", 10)
    lenders.hold("acme", "e2", 10)
    assert isinstance(lenders.hold("bolt", "e1", 60), MoneyHeld)
    refused = lenders.hold("bolt", "e2", 1)
    assert isinstance(refused, Problem)
    assert refused.code == "budget_exceeded"
    assert refused.details == {
        "scope": "platform",
        "name": None,
        "wanted_pico": 1,
        "window": "total",
    }
    lenders.owners["acme"].void("e1", lenders.owners["acme"].now)
    lenders.wait(REMEMBERED)
    assert isinstance(lenders.hold("bolt", "e3", 10), MoneyHeld)


def test_a_tenant_gives_back_what_another_needs_but_nothing_that_it_holds():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 8 * SIZE * 10, window="total")
    lenders.hold("acme", "e1", 10)
    assert isinstance(lenders.hold("bolt", "e1", 8 * SIZE * 10 - 10), MoneyHeld)
    assert isinstance(lenders.hold("bolt", "e2", 1), Problem)


def test_who_is_refused_is_asked_to_give_back_as_the_others_are():
    lenders = Lenders(TENANTS)
    platform = lenders.owners[PLATFORM]
    platform.budget("all", 20, window="total")
    for tenant in TENANTS:
        lenders.hold(tenant, "e1", 10)
    lenders.reserve("acme", "e2", 5)
    lenders.deliver_all()
    recalls = [each.tenants for each in platform.events if isinstance(each, Recalled)]
    assert recalls == [["acme", "bolt"]]


def test_what_is_left_goes_back_when_a_tenant_is_idle():
    lenders = Lenders(TENANTS)
    platform, acme = lenders.owners[PLATFORM], lenders.owners["acme"]
    platform.budget("all", 10**9, window="total")
    lenders.hold("acme", "e1", 10)
    acme.settle("e1", 7)
    lenders.wait(IDLE + SECONDS)
    lenders.deliver_all()
    account = platform.account("all")
    assert (account.held, account.spent) == (0, 7)
    assert acme.state.escrow.blocks == ()


def test_every_window_of_the_platform_pays_for_what_began_in_it():
    lenders = Lenders(TENANTS)
    platform, acme = lenders.owners[PLATFORM], lenders.owners["acme"]
    platform.budget("hour", 10**9, window="hourly")
    lenders.hold("acme", "e1", 10, lease=7200.0)
    lenders.wait(timedelta(hours=1))
    lenders.hold("acme", "e2", 10)
    acme.settle("e1", 4)
    acme.settle("e2", 5)
    lenders.come_to_rest()
    assert sorted((each.key[5:18], each.spent) for each in platform.accounts()) == [
        ("2026-11-21T12", 4),
        ("2026-11-21T13", 5),
    ]


def test_a_bill_that_comes_after_the_lease_corrects_what_the_platform_has_booked():
    lenders = Lenders(TENANTS)
    platform, acme = lenders.owners[PLATFORM], lenders.owners["acme"]
    platform.budget("all", 10**6, window="total")
    began = acme.now
    lenders.hold("acme", "e1", 10)
    lenders.wait(timedelta(seconds=90))
    lenders.come_to_rest()
    assert platform.account("all").spent == 10
    acme.settle("e1", 3, at=began)
    lenders.come_to_rest()
    assert platform.account("all").spent == 3


def test_a_refusal_is_told_and_repeated_without_asking_each_time():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 5, window="total")
    assert isinstance(lenders.hold("acme", "e1", 10), Problem)
    before = lenders.owners["acme"].state.escrow.number
    for number in range(100):
        answer = lenders.reserve("acme", f"e{number}", 10)
        assert isinstance(answer, Problem)
        assert answer.code == "budget_exceeded"
    assert lenders.owners["acme"].state.escrow.number == before
    told = [each for each in lenders.owners[PLATFORM].events if isinstance(each, AlertRaised)]
    assert [each.alert for each in told] == ["exhausted"]


def test_a_tenants_own_budget_refuses_before_the_platform_is_asked():
    lenders = Lenders(TENANTS)
    lenders.owners["acme"].budget("day", 5)
    refused = lenders.reserve("acme", "e1", 10)
    assert isinstance(refused, Problem)
    assert refused.details["scope"] == "global"
    assert lenders.open() == []


def test_a_stream_is_extended_from_the_platforms_money_too():
    lenders = Lenders(TENANTS)
    lenders.owners[PLATFORM].budget("all", 100, window="total")
    lenders.hold("acme", "e1", 10)
    assert isinstance(lenders.extended("acme", "e1", 80), MoneyHeld)
    refused = lenders.extended("acme", "e1", 80)
    assert isinstance(refused, Problem)
    assert (refused.code, refused.details["scope"]) == ("budget_exceeded", "platform")


def test_a_tenant_may_have_a_share_of_its_own_of_the_platform():
    lenders = Lenders(TENANTS)
    platform = lenders.owners[PLATFORM]
    platform.budget("each", 50, scope="project", name="*", window="total")
    assert isinstance(lenders.hold("acme", "e1", 40), MoneyHeld)
    assert isinstance(lenders.hold("acme", "e2", 40), Problem)
    assert isinstance(lenders.hold("bolt", "e1", 40), MoneyHeld)


@pytest.mark.parametrize("tenant", [PLATFORM, "acme"])
def test_the_platforms_account_has_no_limits_of_tenants(tenant: str):
    rules = LedgerRules(zones=PLAIN.zones, books_lapsed=False, limits=None)
    lenders = Lenders(TENANTS, rules)
    owner = lenders.owners[tenant]
    owner.ask(Lapse())
    defaults = owner.state.defaults
    assert defaults is not None
    assert defaults.books_lapsed == (tenant == PLATFORM)

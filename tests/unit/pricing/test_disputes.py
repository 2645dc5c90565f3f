"""Bills of hosts that nobody vouches for: bounded by what was held, and never the operator's."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.adapters.account import account_entity
from actors.pricing.core.decisions import LedgerRules
from actors.pricing.core.disputes import MOST_UNHELD_PICO, bounded
from actors.pricing.core.outward import announce
from bus.telemetry import metrics
from schemas.events import BillExceededEvent
from schemas.ids import PLATFORM
from schemas.ledger import Charge, Charged, Extend, Lapse, MoneyHeld, Settle, Void
from schemas.usage import Usage
from tests.unit.pricing.lenders import Lenders
from tests.unit.pricing.owner import PLAIN, Owner, reference, reserve

PLENTY = 10**15
LARGE = 9 * 10**18
RELEASING = LedgerRules(zones=PLAIN.zones, books_lapsed=False)

costs = st.one_of(st.none(), st.integers(0, 60), st.just(LARGE))
charges = st.builds(lambda cost, foreign: charge(cost, foreign=foreign), costs, st.booleans())


def charge(cost: int | None, *, foreign: bool = True) -> Charge:
    usage = Usage(output=1)
    return Charge(provider="openai", model="m", usage=usage, cost_pico=cost, foreign=foreign)


def settled(owner: Owner, name: str, *told: Charge) -> Charged:
    """Settle an attempt and return what is booked."""
    where = reference(name, at=owner.now)
    owner.ask(Settle(reference=where, party=reserve(name).party, charges=list(told), at=owner.now))
    return next(each for each in reversed(owner.events) if isinstance(each, Charged))


def held(owner: Owner, name: str, amount: int, chunk: int = 0, **more: Any) -> None:
    wanted = reserve(name, amount, now=owner.now, **more)
    owner.ask(msgspec.structs.replace(wanted, chunk_pico=chunk))


@given(st.lists(charges, max_size=5), st.integers(0, 100))
def test_what_is_booked_of_strangers_is_never_above_the_bound_and_the_rest_is_disputed(
    told: list[Charge], most: int
):
    found = bounded(told, most)

    strangers = [each for each in found.charges if each.foreign]
    own = [each for each in told if not each.foreign]
    assert sum(each.cost_pico or 0 for each in strangers) <= most
    assert [each for each in found.charges if not each.foreign] == own
    assert found.cost_pico == sum(each.cost_pico or 0 for each in found.charges)
    for before, after in zip(told, found.charges, strict=True):
        booked = None if after.cost_pico is None else after.cost_pico + after.disputed_pico
        assert booked == before.cost_pico
        assert not after.foreign or (after.cost_pico or 0) >= 0


@given(
    amounts=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    chunk=st.integers(0, 5),
    data=st.data(),
)
def test_no_history_of_a_strangers_bills_passes_what_was_held_for_them_and_chunks(
    amounts: list[int], chunk: int, data: st.DataObject
):
    owner = Owner(data.draw(st.sampled_from([PLAIN, RELEASING])))
    owner.budget(limit=60, window="total")
    began, granted = owner.now, 0
    for number, amount in enumerate(amounts):
        name, where = f"e{number}", reference(f"e{number}", began)
        wanted = reserve(name, amount, now=owner.now, at=began)
        answer = owner.ask(msgspec.structs.replace(wanted, chunk_pico=chunk))
        if not isinstance(answer, MoneyHeld):
            continue
        granted += amount
        more = owner.ask(Extend(reference=where, slice=1, amount_pico=3))
        granted += 3 if isinstance(more, MoneyHeld) else 0
        told = [charge(data.draw(st.sampled_from([0, 3, LARGE])))]
        settle = Settle(reference=where, party=wanted.party, charges=told, at=began)
        ends = {"settle": settle, "void": Void(reference=where), "lapse": Lapse()}
        for what in data.draw(st.permutations(list(ends))):
            owner.ask(ends[what], seconds=61 if what == "lapse" else 0)

    assert sum(each.spent for each in owner.accounts()) <= granted + chunk * len(amounts)
    assert all(each.held == 0 for each in owner.accounts())


def test_a_lying_host_cannot_spend_more_than_was_held_and_a_chunk():
    owner = Owner()
    owner.budget(limit=100, window="total")
    held(owner, "e1", 40, chunk=5)

    event = settled(owner, "e1", charge(LARGE))

    assert (event.cost_pico, event.disputed_pico, event.over_pico) == (45, LARGE - 45, 0)
    account = owner.account()
    assert (account.spent, account.held, account.disputed) == (45, 0, LARGE - 45)
    assert account.available + account.held + account.spent + account.funding == 0
    (told,) = announce(None, event, owner.state)
    assert isinstance(told.body, BillExceededEvent)
    assert (told.body.disputed_pico, told.body.held_pico) == (LARGE - 45, 40)
    assert owner.replayed() == owner.state


def test_what_the_operators_secret_has_bought_is_booked_whatever_it_is_and_told():
    owner = Owner()
    owner.budget(limit=100, window="total")
    held(owner, "e1", 40)

    event = settled(owner, "e1", charge(500, foreign=False))

    assert (event.cost_pico, event.over_pico, event.disputed_pico) == (500, 460, 0)
    assert owner.account().spent == 500
    assert len(list(announce(None, event, owner.state))) == 1


def test_a_bill_within_its_hold_is_told_to_nobody():
    owner = Owner()
    owner.budget(limit=100, window="total")
    held(owner, "e1", 40)

    event = settled(owner, "e1", charge(40))

    assert list(announce(None, event, owner.state)) == []


def test_where_nothing_was_held_a_stranger_is_believed_up_to_a_hundred_dollars():
    owner = Owner()
    owner.budget(limit=PLENTY, window="total", hard=False)

    event = settled(owner, "e1", charge(LARGE), charge(7, foreign=False))

    assert event.cost_pico == MOST_UNHELD_PICO
    assert event.disputed_pico == LARGE - MOST_UNHELD_PICO + 7


@pytest.mark.parametrize("how", ["voided", "lapsed"])
def test_a_late_bill_of_a_stranger_is_bounded_by_what_was_once_held(how: str):
    owner = Owner(RELEASING)
    owner.budget(limit=100, window="total")
    began = owner.now
    held(owner, "e1", 40)
    if how == "voided":
        owner.ask(Void(reference=reference("e1", began)))
    else:
        owner.ask(Lapse(), seconds=61)

    owner.ask(
        Settle(
            reference=reference("e1", began),
            party=reserve("e1").party,
            charges=[charge(LARGE)],
            at=began,
        )
    )

    assert owner.account().spent == 40


# The platform's money


def lent(lenders: Lenders) -> int:
    """Return what the platform counts as spent or held by tenants."""
    (account,) = lenders.owners[PLATFORM].accounts()
    return account.spent + account.held


def begun() -> Lenders:
    lenders = Lenders(["acme", "bolt"])
    lenders.owners[PLATFORM].budget("all", 10_000, window="total")
    return lenders


def test_what_a_tenants_own_server_tells_never_counts_for_the_platform():
    lenders = begun()
    acme = lenders.owners["acme"]
    acme.budget("own", 1000, window="total")
    lenders.hold("acme", "e1", 100)
    began = lenders.began["acme", "e1"]

    told = [charge(90), charge(10, foreign=False)]
    acme.ask(
        Settle(reference=reference("e1", began), party=reserve("e1").party, charges=told, at=began)
    )
    lenders.come_to_rest()

    assert acme.account("own").spent == 100
    assert lent(lenders) == 10
    assert acme.replayed() == acme.state


def test_of_an_attempt_only_the_operators_part_is_the_platforms_money():
    lenders = begun()
    acme = lenders.owners["acme"]
    acme.budget("own", 1000, window="total")
    wanted = msgspec.structs.replace(reserve("e1", 100), platform=True, lent_pico=30)
    acme.ask(wanted)
    lenders.deliver_all()
    assert isinstance(acme.ask(wanted), MoneyHeld)
    acme.ask(Extend(reference=wanted.reference, slice=1, amount_pico=20, lent_pico=5))

    (span,) = [each for each in acme.accounts() if each.budget_id == PLATFORM]
    assert (acme.account("own").held, span.held) == (120, 35)

    acme.ask(Lapse(), seconds=61)
    lenders.deliver_all()
    assert (acme.account("own").spent, lent(lenders)) == (120, 35)
    told = [charge(120), charge(1, foreign=False)]
    acme.ask(Settle(reference=wanted.reference, party=wanted.party, charges=told, at=acme.now))
    lenders.come_to_rest()

    assert acme.account("own").spent == 120
    assert lent(lenders) == 1
    assert acme.replayed() == acme.state


def test_a_stranger_gives_nothing_back():
    found = bounded([charge(-50), charge(7)], 100)

    assert [each.cost_pico for each in found.charges] == [0, 7]
    assert (found.cost_pico, found.disputed_pico) == (7, 0)


ATTEMPTS = st.tuples(
    st.sampled_from(["acme", "bolt"]),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(0, 20),
    st.sampled_from([0, 7, LARGE]),
    st.sampled_from(["settle", "void", "lapse", "late"]),
)


@given(st.lists(ATTEMPTS, max_size=6))
def test_the_platform_pays_exactly_for_what_its_secrets_bought(
    attempts: list[tuple[str, int, int, int, int, str]],
):
    lenders, paid = begun(), 0
    for number, (tenant, amount, most, bought, told, end) in enumerate(attempts):
        owner, name = lenders.owners[tenant], f"e{number}"
        share = min(most, amount)
        cost = min(bought, share)
        wanted = reserve(name, amount, now=owner.now)
        wanted = msgspec.structs.replace(wanted, platform=True, lent_pico=share)
        while not isinstance(owner.ask(wanted), MoneyHeld):
            lenders.deliver_all()
        bills = [charge(told), charge(cost, foreign=False)]
        settle = Settle(reference=wanted.reference, party=wanted.party, charges=bills, at=owner.now)
        if end == "void":
            owner.ask(Void(reference=wanted.reference))
        if end in {"lapse", "late"}:
            for each in lenders.owners.values():
                each.ask(Lapse(), seconds=61)
        if end in {"settle", "late"}:
            owner.ask(settle)
        lenders.deliver_all()
        # A share of nothing is no span of the platform's, so that nothing is told of it.
        paid += {"settle": cost, "late": cost, "lapse": share, "void": 0}[end]
    lenders.come_to_rest()

    assert sum(each.spent + each.held for each in lenders.owners[PLATFORM].accounts()) == paid
    assert all(owner.state == owner.replayed() for owner in lenders.owners.values())


def test_disputes_and_bills_above_their_holds_are_counted():
    names = ("disputed_bills", "disputed_dollars", "bills_over_hold")

    def counted() -> list[float]:
        found = (metrics.REGISTRY.get_sample_value(f"callboard_{name}_total") for name in names)
        return [each or 0.0 for each in found]

    entity, owner = account_entity(), Owner()
    owner.budget(limit=10**15, window="total")
    held(owner, "e1", 40)
    held(owner, "e2", 40)
    before = counted()
    for name, told in (("e1", charge(40 + 3 * 10**12)), ("e2", charge(50, foreign=False))):
        where = reference(name, at=owner.now)
        settle = Settle(reference=where, party=reserve(name).party, charges=[told], at=owner.now)
        entity.decide(owner.state, settle, owner.now)

    changes = [now - then for now, then in zip(counted(), before, strict=True)]
    assert changes == [1, pytest.approx(3), 1]

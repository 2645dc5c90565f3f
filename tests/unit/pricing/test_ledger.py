"""Laws of the ledger: whatever comes, in any order and however often, its balances are the same."""

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.core import closed
from actors.pricing.core.decisions import LedgerRules
from actors.pricing.core.ledger import Ledger
from actors.pricing.core.postings import postings
from bus.codec import decode, encode
from schemas import pages
from schemas.ledger import Charged, Extend, Lapse, Lapsed, Reserve, Settle, Void
from schemas.problems import Problem
from tests.unit.pricing.owner import ANN, BOB, NOON, PLAIN, Owner, reference, reserve, settle

DAY = 86_400.0
SIDES = ("available", "held", "spent", "funding")
PLENTY = 10**9

amounts = st.integers(1, 50)


@st.composite
def attempts(draw: st.DrawFn) -> list[list[Any]]:
    """Draw what is said of a few attempts: each is settled, voided, or both; some were held."""
    said: list[list[Any]] = []
    for number in range(draw(st.integers(1, 4))):
        name, party = f"e{number}", draw(st.sampled_from([ANN, BOB]))
        at = NOON + timedelta(hours=draw(st.integers(-20, 0)))
        messages: list[Any] = []
        if draw(st.booleans()):
            lease = draw(st.sampled_from([30.0, 2 * DAY]))
            messages.append(reserve(name, draw(amounts), at=at, party=party, lease=lease))
        cost = draw(st.none() | amounts)
        if cost is not None:
            messages.append(settle(name, cost, at=at, party=party))
        if cost is None or draw(st.booleans()):
            messages.append(Void(reference=reference(name, at)))
        said.append(messages)
    return said


def wanted(said: list[list[Any]]) -> Counter[str]:
    """Return what each user has spent, by what was said and not when."""
    spent: Counter[str] = Counter()
    for messages in said:
        for each in messages:
            if isinstance(each, Settle):
                spent[each.party.user or ""] += sum(one.cost_pico or 0 for one in each.charges)
    return spent


def budgets(owner: Owner) -> None:
    for scope, name in (("global", None), ("project", "apollo"), ("user", "*")):
        owner.budget(f"{scope}-day", PLENTY, scope=scope, name=name)
        owner.budget(f"{scope}-all", PLENTY, scope=scope, name=name, window="total")


def spent_by_user(owner: Owner) -> Counter[str]:
    spent: Counter[str] = Counter()
    for account in owner.accounts():
        if account.budget_id == "user-all":
            spent[account.name or ""] += account.spent
    return +spent


def folded(owner: Owner) -> Counter[tuple[str, str]]:
    balances: Counter[tuple[str, str]] = Counter()
    for event in owner.events:
        for line in postings(event):
            balances[line.account, line.side] += line.amount_pico
    return balances


def standing(state: Ledger) -> dict[tuple[str, str], int]:
    return {
        (account.key, side): getattr(account, side)
        for account in pages.values(state.accounts)
        for side in SIDES
        if getattr(account, side)
    }


@given(said=attempts(), data=st.data())
@settings(max_examples=150)
def test_any_order_and_any_number_of_deliveries_give_the_same_balances(
    said: list[list[Any]], data: st.DataObject
):
    owner = Owner()
    budgets(owner)
    messages = [message for each in said for message in each]
    times = data.draw(st.lists(st.integers(1, 5), min_size=len(messages), max_size=len(messages)))
    copies = [each for each, n in zip(messages, times, strict=True) for _ in range(n)]
    for message in data.draw(st.permutations(copies)):
        owner.ask(message, seconds=data.draw(st.sampled_from([0.0, 1.0, 40.0, DAY])))
        owner.ask(Lapse())
    for _ in range(len(said)):
        owner.ask(Lapse(), seconds=3 * DAY)

    assert spent_by_user(owner) == wanted(said)
    assert all(account.held == 0 for account in owner.accounts())
    assert pages.size(owner.state.holds) == 0
    assert owner.state.lapses == {}


@given(said=attempts(), data=st.data())
@settings(max_examples=60)
def test_repeats_from_before_the_memory_are_refused_and_change_nothing(
    said: list[list[Any]], data: st.DataObject
):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(closed, "ROOM", 0)
        patched.setattr(closed, "FULL", 1)
        owner = Owner(LedgerRules(zones=PLAIN.zones, memory_days=1.0))
        budgets(owner)
        messages = [message for each in said for message in each]
        for message in data.draw(st.permutations(messages)):
            owner.ask(message)
        owner.ask(Lapse(), seconds=3 * DAY)
        owner.ask(settle("another", 7, now=owner.now))
        assert owner.state.closed.forgotten is not None
        for message in data.draw(st.permutations([*messages, *messages])):
            owner.ask(message, seconds=DAY)

    total = sum(each.cost_pico for each in owner.events if isinstance(each, Charged)) - 7
    assert total == wanted(said).total()
    assert pages.size(owner.state.holds) == 0


steps = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "void", "wait", "top up"]),
        st.integers(0, 5),
        amounts,
        st.sampled_from([ANN, BOB]),
    ),
    max_size=40,
)


def play(owner: Owner, taken: list[tuple[str, int, int, Any]]) -> None:
    for what, number, amount, party in taken:
        name = f"e{number}"
        match what:
            case "reserve":
                owner.reserve(name, amount, at=NOON, party=party)
            case "settle":
                owner.settle(name, amount, at=NOON, party=party)
            case "void":
                owner.void(name)
            case _:
                owner.ask(Lapse(), seconds=float(amount))


@given(taken=steps, limit=st.integers(0, 120))
@settings(max_examples=150)
def test_every_event_sums_to_zero_and_the_balance_is_the_fold_of_the_journal(
    taken: list[tuple[str, int, int, Any]], limit: int
):
    owner = Owner()
    budgets(owner)
    owner.budget("tight", limit)
    play(owner, taken)

    for event in owner.events:
        sums: Counter[str] = Counter()
        for line in postings(event):
            sums[line.account] += line.amount_pico
        assert all(amount == 0 for amount in sums.values())
    assert {key: n for key, n in folded(owner).items() if n} == standing(owner.state)


@given(taken=steps, limit=st.integers(0, 120))
@settings(max_examples=100)
def test_the_journal_and_a_snapshot_lead_to_the_live_state(
    taken: list[tuple[str, int, int, Any]], limit: int
):
    owner = Owner()
    budgets(owner)
    owner.limits(requests_per_minute=3, concurrent=2)
    owner.budget("tight", limit)
    play(owner, taken)

    assert encode(owner.replayed()) == encode(owner.state)
    assert encode(decode(Ledger, encode(owner.state))) == encode(owner.state)


@given(taken=steps, limit=st.integers(0, 120), ann=st.integers(0, 80))
@settings(max_examples=150)
def test_a_strict_budget_is_never_exceeded_and_refuses_nothing_that_fits(
    taken: list[tuple[str, int, int, Any]], limit: int, ann: int
):
    owner = Owner()
    owner.budget("all", limit)
    owner.budget("ann", ann, scope="user", name="ann", window="total")
    caps = {"all": limit, "ann": ann}
    for what, number, amount, party in taken:
        name = f"e{number}"
        if what in ("settle", "void"):
            hold = pages.get(owner.state.holds, f"{name}.1.1")
            if hold is not None:
                cost = min(amount, hold.amount_pico) if what == "settle" else 0
                owner.settle(name, cost, at=NOON) if what == "settle" else owner.void(name)
            continue
        before = {each.budget_id: each.held + each.spent for each in owner.accounts()}
        reply = owner.reserve(name, amount, at=NOON, party=party, lease=1000.0)
        if isinstance(reply, Problem) and reply.code == "budget_exceeded":
            concerned = ["all", "ann"] if party is ANN else ["all"]
            assert any(before.get(each, 0) + amount > caps[each] for each in concerned)
        for account in owner.accounts():
            assert account.held + account.spent <= caps[account.budget_id]


def test_a_hold_ends_with_its_lease_and_books_what_was_held():
    owner = Owner()
    owner.budget()
    owner.reserve("e1", 30, lease=60.0)
    owner.ask(Lapse(), seconds=59)
    assert owner.account().held == 30

    owner.ask(Lapse(), seconds=1)

    assert (owner.account().held, owner.account().spent) == (0, 30)
    assert isinstance(owner.events[-1], Lapsed)


def test_a_hold_whose_lease_has_ended_grants_nothing_before_its_timer_has_rung():
    owner = Owner()
    owner.budget()
    owner.reserve("e1", 30, lease=60.0)
    slice_ = Extend(reference=reference("e1"), slice=1, amount_pico=5)
    owner.ask(slice_, seconds=59)

    again = reserve("e1", 30)
    more = Extend(reference=reference("e1"), slice=2, amount_pico=5)
    replies = [owner.ask(each, seconds=1) for each in (again, slice_, more)]

    assert [reply.code for reply in replies] == ["conflict"] * 3
    assert owner.account().held == 35


def test_a_hold_ends_with_its_lease_and_is_released_where_that_is_the_rule():
    owner = Owner(LedgerRules(zones=PLAIN.zones, books_lapsed=False))
    owner.budget()
    owner.reserve("e1", 30, lease=60.0)
    owner.ask(Lapse(), seconds=60)

    assert (owner.account().held, owner.account().spent) == (0, 0)


def test_a_late_settle_takes_the_place_of_what_the_lapse_had_booked():
    owner = Owner()
    owner.budget()
    owner.reserve("e1", 30, lease=60.0)
    owner.ask(Lapse(), seconds=60)
    owner.settle("e1", 12, at=NOON)

    charged = owner.events[-1]
    assert isinstance(charged, Charged)
    assert (charged.late, charged.booked_pico, charged.released_pico) == (True, 30, 18)
    assert owner.account().spent == 12


def test_a_tombstone_refuses_a_late_reserve():
    owner = Owner()
    owner.budget()
    owner.void("e1")

    reply = owner.reserve("e1", 30, at=NOON)

    assert isinstance(reply, Problem)
    assert reply.code == "conflict"
    assert owner.state.holds == ()


def test_a_settle_without_a_reservation_posts():
    owner = Owner()
    owner.budget()
    owner.settle("e1", 130)

    assert owner.account().spent == 130
    assert not [event for event in owner.events if isinstance(event, Charged) and event.late]


def test_an_unpriced_charge_posts_its_tokens_and_is_flagged():
    owner = Owner()
    owner.settle("e1", None, tokens=25)

    charged = owner.events[-1]
    assert isinstance(charged, Charged)
    assert (charged.cost_pico, charged.tokens, charged.unpriced) == (0, 25, 1)


def test_what_is_spent_at_the_turn_of_a_day_is_of_the_day_it_was_reserved_in():
    owner = Owner()
    owner.budget()
    late = NOON.replace(hour=23, minute=59, second=59)
    owner.now = late
    owner.ask(reserve("e1", 20, now=late))
    owner.ask(settle("e1", 15, now=late + timedelta(seconds=4), at=late), seconds=4)
    owner.ask(reserve("e2", 20, now=owner.now))

    balances = {each.key: (each.held, each.spent) for each in owner.accounts()}
    assert balances == {"day/2026-11-21/global": (0, 15), "day/2026-11-22/global": (20, 0)}


@given(skews=st.lists(st.integers(-2000, 2000), min_size=2, max_size=30))
def test_skewed_clocks_at_a_boundary_lose_and_double_nothing(skews: list[int]):
    midnight = NOON.replace(hour=0) + timedelta(days=1)
    owner = Owner()
    owner.budget(limit=PLENTY)
    owner.now = midnight - timedelta(seconds=3)
    for number, skew in enumerate(skews):
        at = midnight + timedelta(milliseconds=skew)
        command: Reserve = reserve(f"e{number}", 5, now=at, lease=60)
        owner.ask(command)
        owner.ask(settle(f"e{number}", 5, now=at), seconds=0.1)
        owner.ask(settle(f"e{number}", 5, now=at))

    assert sum(each.spent for each in owner.accounts()) == 5 * len(skews)
    before = sum(skew < 0 for skew in skews)
    days = {each.key: each.spent for each in owner.accounts()}
    assert days.get("day/2026-11-21/global", 0) == 5 * before

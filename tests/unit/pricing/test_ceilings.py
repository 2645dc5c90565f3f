"""The operator's limits and budgets: no command of a tenant lifts, resets or removes them."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.core import decisions
from actors.pricing.core.budgets import budget_list
from actors.pricing.core.decisions import LedgerRules
from bus.codec import decode
from bus.errors import ProblemError
from bus.kv.terms import KnownTerms
from schemas.budgets import Budget, BudgetList, Limits, SetBudget
from schemas.ledger import (
    Adjust,
    DropBudget,
    MoneyHeld,
    Party,
    PutBudget,
    PutLimits,
    TopUp,
)
from schemas.problems import Problem
from schemas.terms import Restriction, Terms
from tests.unit.pricing.owner import PLAIN, Owner

ALLOWED = 4
ALERT = Budget(id="cost-alert", limit_pico=100, hard=False, thresholds=[100])
RULES = LedgerRules(zones=PLAIN.zones, limits=Limits(requests_per_minute=ALLOWED), alert=ALERT)

counts = st.none() | st.sampled_from([1, 2, 10, 10**12])
scopes = st.sampled_from(
    [("global", None), ("user", "ann"), ("user", "*"), ("project", "apollo"), ("agent", "*")]
)
names = st.sampled_from(["cost-alert", "mine", "operator", "global"])


@st.composite
def limits(draw: st.DrawFn) -> PutLimits:
    scope, name = draw(scopes)
    kind: Any = scope
    return PutLimits(
        limits=Limits(
            scope=kind,
            name=name,
            requests_per_minute=draw(counts),
            requests_per_hour=draw(counts),
            concurrent=draw(counts),
        )
    )


@st.composite
def budgets(draw: st.DrawFn) -> Any:
    name, amount = draw(names), draw(st.sampled_from([0, 5, 10**18]))
    scope, whose = draw(scopes)
    kind: Any = scope
    at = Owner().now
    return draw(
        st.sampled_from(
            [
                PutBudget(budget=Budget(id=name, limit_pico=amount, scope=kind, name=whose)),
                DropBudget(id=name),
                TopUp(id="t1", budget_id=name, amount_pico=max(amount, 1), at=at),
                Adjust(id="a1", budget_id=name, amount_pico=-amount, at=at, reason="r"),
            ]
        )
    )


@given(st.lists(st.one_of(st.just("asks"), limits(), budgets()), max_size=30))
def test_no_sequence_of_a_tenants_commands_lifts_the_operators_limit(steps: list[Any]):
    owner, admitted = Owner(RULES), 0
    for number, step in enumerate([*steps, *["asks"] * (ALLOWED + 1)]):
        if isinstance(step, str):
            admitted += isinstance(owner.reserve(f"e{number}", 1), MoneyHeld)
        else:
            owner.ask(step)

    assert admitted <= ALLOWED
    assert owner.state.standing["cost-alert"] == ALERT
    assert admitted < ALLOWED or isinstance(owner.reserve("more", 0), Problem)
    assert budget_list(owner.state, owner.now).ceilings == [RULES.limits]
    assert "global" in {each.scope for each in owner.state.terms.restrictions}


def test_both_limits_hold_and_each_counts_for_itself():
    owner = Owner(RULES)
    owner.limits(requests_per_minute=2)
    held = [owner.reserve(f"e{number}") for number in range(3)]
    assert [isinstance(each, MoneyHeld) for each in held] == [True, True, False]

    owner.limits()

    held = [owner.reserve(f"f{number}") for number in range(3)]
    assert [isinstance(each, MoneyHeld) for each in held] == [True, True, False]
    listed: BudgetList = owner.limits(requests_per_minute=9)
    assert [each.requests_per_minute for each in listed.limits] == [9]
    assert [each.requests_per_minute for each in listed.ceilings] == [ALLOWED]


def test_limits_that_limit_nothing_are_not_kept():
    owner = Owner()
    owner.limits(requests_per_minute=2)

    listed: BudgetList = owner.limits()

    assert listed.limits == []
    assert owner.state.terms.restrictions == []


@pytest.mark.parametrize(
    "command",
    [
        PutBudget(budget=Budget(id="cost-alert", limit_pico=10**18)),
        DropBudget(id="cost-alert"),
        TopUp(id="t1", budget_id="cost-alert", amount_pico=5, at=Owner().now),
        Adjust(id="t1", budget_id="cost-alert", amount_pico=-5, at=Owner().now, reason="r"),
    ],
)
def test_the_operators_budget_is_changed_by_no_command(command: Any):
    owner = Owner(RULES)

    refused = owner.ask(command)

    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) in {("forbidden", "id"), ("forbidden", "budget_id")}


def test_the_operators_limits_hold_for_accounts_whose_terms_are_older():
    known = KnownTerms("agents.0", (Restriction(),))
    standing = Terms(tenant="acme", revision=7, restrictions=[Restriction(scope="user", name="a")])
    known.keep(standing)

    found = known.of("acme").restrictions

    assert found == [Restriction(), Restriction(scope="user", name="a")]
    assert known.of("bolt").restrictions == [Restriction()]
    assert KnownTerms("agents.0").of("acme").restrictions == []


# Entries by hand


def top_up(owner: Owner, **other: Any) -> TopUp:
    wanted = TopUp(id="t1", budget_id="day", amount_pico=5, at=owner.now)
    return msgspec.structs.replace(wanted, **other)


@pytest.mark.parametrize(
    "other", [{"amount_pico": 6}, {"budget_id": "other"}, {"reason": "another"}]
)
def test_an_entry_of_a_used_id_and_another_content_is_a_conflict(other: dict[str, Any]):
    owner = Owner()
    owner.budget()
    owner.budget("other")
    first = owner.ask(top_up(owner))

    again = owner.ask(top_up(owner), seconds=1)
    refused = owner.ask(top_up(owner, **other), seconds=1)

    assert again.balances == first.balances
    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) == ("conflict", "id")
    owner.state = owner.replayed()
    assert owner.ask(top_up(owner, **other)).code == "conflict"


def test_a_correction_with_the_id_of_a_top_up_is_a_conflict():
    owner = Owner()
    owner.budget()
    owner.ask(top_up(owner))

    refused = owner.ask(Adjust(id="t1", budget_id="day", amount_pico=5, at=owner.now, reason=""))

    assert refused.code == "conflict"


# How much a tenant may have


def test_a_tenant_has_so_many_budgets_and_limits_and_is_told_how_many(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(decisions, "MOST_BUDGETS", 3)
    monkeypatch.setattr(decisions, "MOST_LIMITS", 3)
    owner = Owner()
    answers = [owner.budget(f"b{number}") for number in range(4)]
    answers += [owner.limits(scope="user", name=f"u{number}", concurrent=1) for number in range(4)]

    refused = [each for each in answers if isinstance(each, Problem)]

    assert [(each.code, each.details) for each in refused] == [("validation", {"allowed": 3})] * 2
    assert not isinstance(owner.budget("b1", limit=7), Problem)
    assert not isinstance(owner.limits(scope="user", name="u1", concurrent=2), Problem)


def test_names_beyond_what_an_account_counts_are_refused_and_known_ones_are_not(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("actors.pricing.core.admission.MOST_WINDOWS", 3)
    monkeypatch.setattr("actors.pricing.core.decisions.MOST_WINDOWS", 3)
    owner = Owner()
    owner.budget("each", scope="user", name="*", window="total")

    answers = [owner.reserve(f"e{n}", party=Party(user=f"u{n}")) for n in range(4)]

    assert [isinstance(each, MoneyHeld) for each in answers] == [True, True, True, False]
    assert answers[3].details == {"allowed": 3}
    assert isinstance(owner.reserve("again", party=Party(user="u1")), MoneyHeld)
    owner.settle("unheld", 5, party=Party(user="u9"))
    assert len(owner.accounts()) == 3


def test_names_with_limits_take_no_more_room_than_a_record_should_have(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(decisions, "MOST_NAME_BYTES", 25)
    owner = Owner()
    answers = [
        owner.budget("b1", scope="user", name="é" * 5),
        owner.limits(scope="user", name="b" * 10, concurrent=1),
        owner.limits(scope="user", name="c" * 10, concurrent=1),
        owner.budget("b2", scope="user", name="d" * 10),
        owner.limits(scope="user", name="b" * 10, concurrent=2),
    ]

    assert [isinstance(each, Problem) for each in answers] == [False, False, True, True, False]
    assert answers[2].details == {"allowed": 25}


def test_a_list_of_many_windows_is_bounded_and_quick():
    owner = Owner()
    for number in range(30):
        owner.budget(f"b{number}", scope="user", name="*", window="total")
    for number in range(100):
        owner.settle(f"e{number}", 1, party=Party(user=f"u{number}"))

    listed = budget_list(owner.state, owner.now)

    assert sum(len(each.balances) for each in listed.budgets) <= 2000
    assert all(each.balances for each in listed.budgets)


@pytest.mark.parametrize("name", ["a\nb", "\x1b]52;c;x\x07", "a\x9bb", "a\n", "\x00"])
def test_a_scope_has_no_name_with_control_characters(name: str):
    body = msgspec.json.encode({"id": "b", "limit_pico": 1, "scope": "user", "name": name})

    with pytest.raises(ProblemError) as refused:
        decode(SetBudget, body)

    assert refused.value.problem.field == "name"


def test_a_name_in_any_script_is_taken():
    body = msgspec.json.encode({"id": "b", "limit_pico": 1, "scope": "user", "name": "日本 é"})

    assert decode(SetBudget, body).name == "日本 é"

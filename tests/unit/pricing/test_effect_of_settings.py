"""What an operator sets bounds and tells of every account."""

from datetime import timedelta
from decimal import Decimal

import pytest

from actors.pricing.adapters.account import zone
from actors.pricing.config import ALERT_ID, PricingConfig, rules
from actors.pricing.core.admission import DOLLAR
from bus.config import load
from schemas.ledger import AlertRaised, Lapse, MoneyHeld
from schemas.problems import Problem
from tests.unit.pricing.owner import Owner

ALLOWED = 3


def owner(**environ: str) -> Owner:
    return Owner(rules(load(PricingConfig, environ), zone))


@pytest.mark.parametrize(
    ("variable", "limit", "over"),
    [
        ("RATE_LIMIT_PER_MINUTE", "requests_per_minute", 61),
        ("USAGE_LIMIT_REQUESTS_PER_HOUR", "requests_per_hour", 3660),
    ],
)
def test_no_more_attempts_begin_than_the_operator_allows(variable: str, limit: str, over: int):
    account = owner(**{variable: str(ALLOWED)})

    answers = [account.reserve(f"e{number}") for number in range(ALLOWED + 1)]
    refused = answers.pop()
    account.now += timedelta(seconds=over)
    later = account.reserve("later")

    assert all(isinstance(answer, MoneyHeld) for answer in answers)
    assert isinstance(refused, Problem)
    assert (refused.code, refused.details["limit"]) == ("rate_limited", limit)
    assert isinstance(later, MoneyHeld)


@pytest.mark.parametrize("dollars", ["0.50", "12.25"])
def test_a_tenant_that_has_spent_the_threshold_is_told_of_once(dollars: str):
    account = owner(COST_BUDGET_ALERT_THRESHOLD=dollars)
    threshold = int(Decimal(dollars) * DOLLAR)

    told = [alerts_after(account, f"e{cost}", cost) for cost in (threshold - 1, 1, 2)]

    assert told == [[], [threshold], []]


def alerts_after(account: Owner, name: str, cost: int) -> list[int]:
    """Pay so much; return the thresholds that were told of then."""
    before = len(account.events)
    account.reserve(name, cost)
    account.settle(name, cost)
    return [
        event.threshold_pico
        for event in account.events[before:]
        if isinstance(event, AlertRaised)
        and (event.budget_id, event.alert) == (ALERT_ID, "threshold")
    ]


@pytest.mark.parametrize(("word", "spent"), [("book", 30), ("release", 0)])
def test_what_nobody_settles_is_booked_or_released_as_the_operator_says(word: str, spent: int):
    account = owner(CALLBOARD_LAPSED_HOLDS=word)
    account.budget()
    account.reserve("e1", 30, lease=60.0)
    account.ask(Lapse(), seconds=60)

    assert (account.account().held, account.account().spent) == (0, spent)


@pytest.mark.parametrize("days", [2.0, 9.0])
def test_a_ledger_remembers_for_as_many_days_as_the_operator_says(days: float):
    account = owner(CALLBOARD_LEDGER_MEMORY_DAYS=str(days))
    account.reserve("e1")

    for ledger in (account.state, account.replayed()):
        assert ledger.defaults is not None
        assert ledger.defaults.memory_days == days

"""What is accepted is bounded by what is known of budgets, and nothing is where that is nothing."""

import pytest

from actors.agents.adapters.spending_guard import SpendingGuard
from actors.agents.core.spending import SpendingPolicy
from bus.errors import ProblemError, problem
from bus.kv.prices import PricesInForce
from bus.kv.terms import KnownTerms
from schemas.lifecycle import Accept
from schemas.terms import Restriction, Terms
from tests.unit.agents.samples import NOW
from tests.unit.agents.test_bounds import accept


async def at_once() -> None:
    return


async def never() -> None:
    raise problem("unavailable", "the terms of tenants are not known", retryable=True)


def guard(*restrictions: Restriction, known: bool = True) -> SpendingGuard:
    terms = KnownTerms("one")
    terms.keep(Terms(tenant="acme", revision=1, restrictions=[*restrictions]))
    ready = at_once if known else never
    return SpendingGuard(terms, PricesInForce(), ready, lambda: NOW, SpendingPolicy())


async def bounded(given: SpendingGuard) -> Accept:
    return await given.bounded(accept())


async def test_without_a_budget_nothing_is_bounded_so_that_no_account_is_asked():
    wanted = accept()

    assert await guard().bounded(wanted) is wanted
    assert wanted.spending is None


async def test_with_a_budget_an_attempt_asks_before_it_begins():
    assert (await bounded(guard(Restriction(money=True)))).spending is not None


@pytest.mark.parametrize("restrictions", [[], [Restriction(money=True)]])
async def test_as_long_as_budgets_are_not_known_nothing_is_accepted(
    restrictions: list[Restriction],
):
    with pytest.raises(ProblemError) as refused:
        await bounded(guard(*restrictions, known=False))

    assert refused.value.problem.code == "unavailable"

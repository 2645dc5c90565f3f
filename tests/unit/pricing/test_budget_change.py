"""A budget that stands keeps whatever a change does not name."""

import msgspec

from schemas.budgets import Budget, BudgetState
from schemas.ledger import PutBudget
from schemas.problems import Problem
from tests.unit.pricing.owner import Owner

PATS = Budget(
    id="pat", limit_pico=500, scope="user", name="pat", window="weekly", hard=False, zone="CET"
)


def changed(owner: Owner, given: list[str], **fields: object) -> BudgetState | Problem:
    """Change a budget by some fields; the others have their defaults, as in a request."""
    budget = Budget(**{"id": "pat", "limit_pico": 100, **fields})  # pyright: ignore[reportArgumentType]  any fields
    return owner.ask(PutBudget(budget=budget, given=["id", *given]))


def test_only_what_is_given_changes():
    owner = Owner()
    owner.ask(PutBudget(budget=PATS))

    stands = changed(owner, ["limit_pico"])

    assert isinstance(stands, BudgetState)
    assert stands.budget == msgspec.structs.replace(PATS, limit_pico=100)


def test_what_is_given_is_held_to_what_stands():
    owner = Owner()
    owner.ask(PutBudget(budget=PATS))

    other = changed(owner, ["limit_pico", "window"], window="daily")
    nobodys = changed(owner, ["limit_pico", "name"], name=None)

    assert isinstance(other, Problem)
    assert (other.code, other.field) == ("conflict", "id")
    assert isinstance(nobodys, Problem)
    assert (nobodys.code, nobodys.field) == ("validation", "name")


def test_a_new_budget_has_the_usual_shape():
    stands = changed(Owner(), ["limit_pico"])

    assert isinstance(stands, BudgetState)
    assert stands.budget == Budget(id="pat", limit_pico=100)

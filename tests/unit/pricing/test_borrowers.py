"""Laws of waiting for the platform's money: no rest of it is stuck in the account of a tenant."""

from random import Random

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from actors.pricing.core.blocks import REMEMBERED
from actors.pricing.core.escrow import PATIENCE
from tests.unit.pricing.borrowers import MOST_SECONDS, Attempt, Borrowers

TENANTS = ("acme", "bolt", "cove")
PROMISED = (PATIENCE + REMEMBERED).total_seconds()
"""From when an attempt fits, it is held after so many seconds: as long as a refusal may hold."""


def crowd(seed: int) -> tuple[Borrowers, int]:
    """Return tenants whose attempts compete for a small budget, and how many attempts those are."""
    chance = Random(seed)
    tenants = TENANTS[: chance.choice([2, 2, 3])]
    borrowers = Borrowers(tenants, chance.choice([20, 50, 100, 200]), chance)
    count, seconds = chance.randint(2, 60), chance.choice([1.0, 5.0, 20.0])
    sizes = chance.choice([[10], [1, 2, 3, 10], [5, 10, 40], [7, 11], [1, 20]])
    for number in range(count):
        wanted = chance.choice(sizes)
        attempt = Attempt(
            tenant=chance.choice(tenants),
            name=f"e{number}",
            wanted=wanted,
            lasts=chance.choice([0.1, 1.0, 5.0, 100.0]),
            cost=chance.choice([0, wanted // 2, wanted]),
        )
        borrowers.at(chance.uniform(0.0, seconds), lambda attempt=attempt: borrowers.ask(attempt))
    return borrowers, count


@given(seed=st.integers(0, 2**32))
@settings(max_examples=100, phases=[Phase.generate])
def test_what_neither_was_spent_nor_is_held_is_granted_within_the_promised_time(seed: int):
    borrowers, count = crowd(seed)
    borrowers.run(MOST_SECONDS)

    assert len(borrowers.outcomes) == count
    for outcome in borrowers.outcomes:
        waited = min(outcome.waited, outcome.fitted) if outcome.is_held else outcome.fitted
        assert waited <= PROMISED, outcome

"""Looks for the first seed that finds each planted fault: ``python -m tests.simulation.search``.

With words, only for faults that have one of them in their names.
"""

import sys
from concurrent.futures import ProcessPoolExecutor

from tests.simulation import (
    planted,
    test_ledger,
    test_lending,
    test_spending,
    test_tools,
    test_waiting,
    test_workflows,
)
from tests.simulation.history import FLEET, LEDGER, PLATFORM, SPENDING, TOOLS, WAITING, WORKFLOWS

TABLES = (
    (planted.PLANTED, FLEET),
    (test_ledger.PLANTED, LEDGER),
    (test_spending.PLANTED, SPENDING),
    (test_lending.PLANTED, PLATFORM),
    (test_waiting.PLANTED, WAITING),
    (test_tools.PLANTED, TOOLS),
    (test_workflows.PLANTED, WORKFLOWS),
)
CASES = [(table, place) for table in range(len(TABLES)) for place in range(len(TABLES[table][0]))]


def first(case: tuple[int, int]) -> int | None:
    """Return the first seed that finds a fault, None if none does within its bound."""
    faults, story = TABLES[case[0]]
    history = faults[case[1]]._replace(seed=1).found(story)
    return history and history.seed


def _name(case: tuple[int, int]) -> str:
    return TABLES[case[0]][0][case[1]].name


def main() -> int:
    """Tell of every fault; 1 if one is not found."""
    missed, words = 0, sys.argv[1:]
    cases = [case for case in CASES if not words or any(word in _name(case) for word in words)]
    with ProcessPoolExecutor() as processes:
        for (table, place), seed in zip(cases, processes.map(first, cases), strict=True):
            fault = TABLES[table][0][place]
            missed += seed is None
            found = f"{seed or 'none':>6} of {fault.within:>4}, known {fault.seed:>4}"
            print(f"{found}: {fault.name}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())

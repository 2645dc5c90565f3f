"""The proof of nets: a team of 16 members, and nets made to keep it busy, in time of the CPU."""

from collections.abc import Callable
from time import process_time

from actors.workflow.core.proof.checking import check, check_steps
from schemas.nets import NetDefinition
from schemas.steps import begun
from tests.bench.rows import Row
from tests.unit.workflow import teams
from tests.unit.workflow.test_proof_hostile import HOSTILE

NAME = "proof"
ROUNDS = 5
MOST_MS = 50.0
MOST_SECONDS = 5.0

TEAMS: dict[str, Callable[[], NetDefinition]] = {
    "hierarchical, 20 subtasks": lambda: teams.hierarchical(16, 20, 3),
    "pipeline": lambda: teams.pipeline(16, 3),
    "collaborative": lambda: teams.collaborative(16, 2),
    "democratic": lambda: teams.democratic(16),
    "debate": lambda: teams.debate(16, 1),
    "handoff": lambda: teams.handoff(16, 16),
}


async def measure() -> list[Row]:
    """Return the milliseconds of each team's proof, and the seconds of the slowest hostile net."""
    rows = [
        Row(NAME, f"proof of 16 members, {name}", 1e3 * _best(make()), "ms", most=MOST_MS)
        for name, make in TEAMS.items()
    ]
    slowest = max(_seconds(make()) for make in HOSTILE)
    rows.append(Row(NAME, "slowest hostile net", slowest, "s", most=MOST_SECONDS))
    pause = max(_longest(make()) for make in HOSTILE)
    return [*rows, Row(NAME, "longest time without a pause", 1e3 * pause, "ms")]


def _best(net: NetDefinition) -> float:
    return min(_seconds(net) for _ in range(ROUNDS))


def _seconds(net: NetDefinition) -> float:
    began = process_time()
    check(net)
    return process_time() - began


def _longest(net: NetDefinition) -> float:
    steps, longest = check_steps(net), 0.0
    while True:
        began = process_time()
        done = begun(steps)
        longest = max(longest, process_time() - began)
        if done is not None:
            return longest

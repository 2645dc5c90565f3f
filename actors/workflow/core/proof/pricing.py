"""What an instance costs at most: the bounds of its proof times the prices of its agents. Pure."""

from collections.abc import Mapping
from typing import NamedTuple

from schemas.workflows import NetProof

NONE: Mapping[str, int | None] = {}


class PricedAgent(NamedTuple):
    """An agent: how often it runs at most, and what a run costs at most, in pico-dollars."""

    agent_id: str
    executions: int | None
    each_pico: int | None


class WorstCase(NamedTuple):
    """What an instance costs at most, in pico-dollars; None is not bounded or not known."""

    pico: int | None
    lines: list[PricedAgent]


def worst_case(
    proof: NetProof, prices: Mapping[str, int | None], children: Mapping[str, int | None] = NONE
) -> WorstCase:
    """Return the worst case, for all agents that are priced.

    ``prices`` says what a run of each agent of the net costs at most, ``children`` what one of each
    workflow that it runs; None, or what is missing there, is not known. No run
    has every agent as often as the run that has it most often: so the dearest are taken, up to the
    bound on all executions.
    """
    lines = [
        PricedAgent(name, proof.agents.get(name), price) for name, price in sorted(prices.items())
    ]
    left, pico = proof.executions, 0
    for name, times in proof.workflows.items():
        price = children.get(name)
        if price is None:
            return WorstCase(None, lines)
        pico += times * price
    if left is None or any(one.executions is None or one.each_pico is None for one in lines):
        return WorstCase(None if lines else 0, lines)
    for one in sorted(lines, key=lambda one: -(one.each_pico or 0)):
        times = min(left, one.executions or 0)
        left -= times
        pico += times * (one.each_pico or 0)
    return WorstCase(pico, lines)

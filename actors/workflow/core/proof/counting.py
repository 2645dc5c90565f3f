"""How much a run may do at most: the longest way through all markings. Pure.

Markings from which one comes back to them (strongly connected, Tarjan 1972) are a loop: what is run
in it has no bound. Without loops the longest way is found from the ends of the runs backwards.
"""

from collections.abc import Iterator
from itertools import chain
from math import inf
from typing import NamedTuple

from actors.workflow.core.proof.abstracting import AGENT, TOOL, Weight
from actors.workflow.core.proof.exploring import Edge, Explored
from schemas.steps import Steps

MOST_WORK = 2_000_000
"""Moves times things that are counted one by one."""

PAUSE_EACH = 64

EXECUTIONS, CALLS = "executions", "tool_calls"


class Loop(NamedTuple):
    """Markings that come round, and the moves among them."""

    states: frozenset[int]
    moves: list[tuple[int, Edge]]


class Counts(NamedTuple):
    """How often what runs at most; ``inf`` where there is no bound. ``loops`` in no order."""

    most: dict[str, float]
    loops: list[Loop]


def count(explored: Explored) -> Steps[Counts]:
    """Return how often a run does what at most."""
    parts = yield from components(explored.edges)
    of = {number: place for place, part in enumerate(parts) for number in part}
    names = _names(explored)
    best: list[dict[str, float]] = []
    loops: list[Loop] = []
    work = 0
    for place, part in enumerate(parts):
        most = dict.fromkeys(names, 0.0)
        inner: list[tuple[int, Edge]] = []
        for number, edge in ((n, edge) for n in part for edge in explored.edges[n]):
            work += len(names)
            if work % (PAUSE_EACH * 8) < len(names):
                yield
            added = _totals(edge.move.weight)
            if of[edge.target] == place:
                inner.append((number, edge))
                most.update((name, inf) for name in added if name in most)
                continue
            for name, value in best[of[edge.target]].items():
                most[name] = max(most[name], value + added.get(name, 0))
        if inner:
            loops.append(Loop(frozenset(part), inner))
        best.append(most)
    total = best[of[0]] if best else {}
    for name, times in _totals(explored.first.weight).items():
        total[name] = total.get(name, 0) + times
    return Counts(total, loops)


def _names(explored: Explored) -> list[str]:
    """Return what is counted: sums, and each name unless these are too many."""
    net = explored.net
    weights = chain((one.weight for one in net.transitions), (one.weight for one in net.places))
    names = sorted({name for weight in weights for name, _ in weight})
    moves = sum(map(len, explored.edges))
    return [EXECUTIONS, CALLS, *(names if moves * len(names) <= MOST_WORK else ())]


def _totals(weight: Weight) -> dict[str, int]:
    found = dict(weight)
    for name, times in weight:
        whole = EXECUTIONS if name.startswith(AGENT) else CALLS if name.startswith(TOOL) else None
        if whole is not None:
            found[whole] = found.get(whole, 0) + times
    return found


def components(edges: list[list[Edge]]) -> Steps[list[list[int]]]:
    """Return the strongly connected parts of a graph, each after those that it leads to."""
    order: dict[int, int] = {}
    low: dict[int, int] = {}
    open_, on_stack, found = list[int](), set[int](), list[list[int]]()
    path: list[tuple[int, Iterator[Edge]]] = []

    def enter(number: int) -> None:
        order[number] = low[number] = len(order)
        open_.append(number)
        on_stack.add(number)
        path.append((number, iter(edges[number])))

    for root in range(len(edges)):
        if root in order:
            continue
        enter(root)
        while path:
            number, left = path[-1]
            edge = next(left, None)
            if edge is None:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[number])
                if low[number] == order[number]:
                    found.append(_closed(number, open_, on_stack))
                    if len(found) % PAUSE_EACH == 0:
                        yield
            elif edge.target not in order:
                enter(edge.target)
            elif edge.target in on_stack:
                low[number] = min(low[number], order[edge.target])
    return found


def _closed(number: int, open_: list[int], on_stack: set[int]) -> list[int]:
    part: list[int] = []
    while True:
        part.append(open_.pop())
        on_stack.discard(part[-1])
        if part[-1] == number:
            return part

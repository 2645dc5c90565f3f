"""All markings of a net without data that can be reached, within bounds. Pure."""

from collections import deque
from typing import NamedTuple

from actors.workflow.core.proof.abstracting import Abstract
from actors.workflow.core.proof.moving import Moves, NetMove
from actors.workflow.core.proof.tokens import NetState
from schemas.steps import Steps

MOST_MOVES = 40_000
"""Moves that are looked at: some 2 s. Those of markings with much to tell count for more."""

TOLD_EACH = 8
"""Kinds of tokens, and counters, for which a move counts once more."""

PAUSE_EACH = 32
"""Moves between two pauses: less than a millisecond."""


class Edge(NamedTuple):
    """A move from one marking to another, by their numbers."""

    target: int
    move: NetMove


class Explored:
    """The markings of a net in the order in which they were found, and the moves between them.

    ``grows`` is the number of a marking that holds all the tokens of one on the way to it, and
    more: so it can be repeated without end. ``crowded`` is one where a transition would put more
    than the net may have, and how many these are. ``left`` are those that were not gone on from;
    with all of them it is ``complete``.
    """

    def __init__(self, net: Abstract) -> None:
        self.net = net
        self.states: list[NetState] = []
        self.edges: list[list[Edge]] = []
        self.parents: list[tuple[int, str]] = []
        self.entered: set[int] = set()
        self.fired: set[int] = set()
        self.grows: int | None = None
        self.crowded: tuple[int, int] | None = None
        self.left: set[int] = set()
        self.first = NetMove("", NetState())
        self._numbers: dict[NetState, int] = {}

    @property
    def complete(self) -> bool:
        """Whether all markings were found."""
        return not self.left

    def run_to(self, number: int) -> list[str]:
        """Return what happens on a shortest way to a marking."""
        run: list[str] = []
        while number:
            number, label = self.parents[number]
            run.append(label)
        return run[::-1]

    def add(self, move: NetMove, parent: int) -> tuple[int, bool]:
        """Note where a move leads; return its number and whether it is new."""
        self.entered.update(move.entered)
        if move.transition >= 0:
            self.fired.add(move.transition)
        known = self._numbers.get(move.state)
        if known is not None:
            return known, False
        number = self._numbers[move.state] = len(self.states)
        self.states.append(move.state)
        self.edges.append([])
        self.parents.append((parent, move.label))
        return number, True


def explore(net: Abstract, start: int, most_moves: int = MOST_MOVES) -> Steps[Explored]:
    """Return what can be reached from one token in a place."""
    moves, found = Moves(net), Explored(net)
    found.first = moves.begin(start)
    found.add(found.first, 0)
    waiting, seen, since, largest = deque[int]((0,)), 0, 0, found.first.state.size
    while waiting:
        number = waiting.popleft()
        cost = 1 + (len(found.states[number].tokens) + len(net.counted)) // TOLD_EACH
        for move in moves.steps(found.states[number]):
            since += cost
            if since > PAUSE_EACH:
                yield
                seen, since = seen + since, 0
            target, is_new = found.add(move, number)
            found.edges[number].append(Edge(target, move))
            if not is_new:
                continue
            size = move.state.size
            if size > largest:
                largest = size
                if _grows(found, target):
                    found.grows = target
                    found.left.update(waiting, (number, target))
                    return found
            waiting.append(target)
        if moves.crowded and found.crowded is None:
            found.crowded = number, moves.crowded
        if seen > most_moves:
            found.left.update(waiting)
            return found
    return found


def _grows(found: Explored, number: int) -> bool:
    """Say whether a marking on the way to this one has all its tokens but some."""
    whole = dict(found.states[number].tokens)
    above = number
    while above:
        above = found.parents[above][0]
        if all(whole.get(token, 0) >= count for token, count in found.states[above].tokens):
            return True
    return False

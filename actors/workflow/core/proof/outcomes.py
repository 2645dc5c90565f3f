"""What is wrong with the markings of a net: ends that are none, loops, what is never reached."""

from collections.abc import Callable, Iterable
from math import inf

from actors.workflow.core.proof.counting import CALLS, EXECUTIONS, Counts, Loop
from actors.workflow.core.proof.exploring import Edge, Explored
from actors.workflow.core.proof.findings import NetFindings
from actors.workflow.core.proof.tokens import FAILED, Token
from schemas.nets import NetDefinition

DOUBTS = frozenset(("may_stick", "unreachable_place", "unreachable_transition"))
"""Warnings with which a net is not sound."""


def check_markings(net: NetDefinition, explored: Explored, found: NetFindings) -> None:
    """Find what is wrong with the markings that can be reached."""
    _sizes(net, explored, found)
    ends = [n for n, edges in enumerate(explored.edges) if not edges and n not in explored.left]
    complete = [n for n in ends if not _live(explored, n) and explored.states[n] != FAILED]
    for number in ends:
        tokens = _live(explored, number)
        if tokens and not any(explored.net.places[one.place].rests for one in tokens):
            _stuck(explored, number, tokens, found)
    if not explored.complete:
        message = "too many markings to look at all: what is not told here is not proved"
        found.unproved("too_large", "net", message)
        return
    _endless(explored, ends, found)
    if not complete and not found.refused:
        message = "no run comes to its end: let each reach a place of type terminal or error"
        found.error("no_completion", "net.places", message)


def _live(explored: Explored, number: int) -> list[Token]:
    """Return the tokens of a marking that have not come to their end."""
    places, state = explored.net.places, explored.states[number]
    if state == FAILED:
        return []
    return [one for one, _ in state.tokens if not places[one.place].ends]


def _sizes(net: NetDefinition, explored: Explored, found: NetFindings) -> None:
    if explored.grows is not None:
        run = explored.run_to(explored.grows)
        tokens = dict(explored.states[explored.grows].tokens)
        place = max(tokens, key=lambda token: (tokens[token], token)).place
        message = "tokens gather without a bound: each round leaves one more; take it away, or join"
        found.error("unbounded", f"net.places.{place}", message, run)
    if explored.crowded is not None:
        number, size = explored.crowded
        message = f"a run has {size} tokens, {net.most_tokens} are allowed: raise it, or fork less"
        run = explored.run_to(number)
        found.error("too_many_tokens", "net.most_tokens", message, run)


def _stuck(explored: Explored, number: int, tokens: list[Token], found: NetFindings) -> None:
    run = explored.run_to(number)
    refusing = [token for token in tokens if token.refuses]
    for token in refusing or tokens:
        path = f"net.places.{token.place}"
        if refusing:
            message = (
                "a token stays here if no guard holds: add a transition without guards and with "
                "the lowest priority, or a timeout"
            )
            found.warning("may_stick", path, message, run)
        else:
            message = (
                "a token here waits for ever: what should take it needs other tokens, or room, "
                "that never come, or has been taken as often as it may"
            )
            found.error("deadlock", path, message, run)


def _endless(explored: Explored, ends: Iterable[int], found: NetFindings) -> None:
    """Find markings from which no end of any kind can be reached."""
    before: dict[int, list[int]] = {}
    for number, edges in enumerate(explored.edges):
        for edge in edges:
            before.setdefault(edge.target, []).append(number)
    reached, waiting = set(ends), list(ends)
    while waiting:
        new = [one for one in before.get(waiting.pop(), ()) if one not in reached]
        reached.update(new)
        waiting.extend(new)
    for number, edges in enumerate(explored.edges):
        if number not in reached:
            path = _path_of(edges)
            message = "from here on nothing ends: give the loop a way out"
            found.error("livelock", path, message, explored.run_to(number))
            return


def _path_of(edges: Iterable[Edge]) -> str:
    numbers = [edge.move.transition for edge in edges if edge.move.transition >= 0]
    return f"net.transitions.{numbers[0]}" if numbers else "net.places"


def check_reached(
    net: NetDefinition, entered: set[int], fired: set[int], found: NetFindings
) -> None:
    """Find places and transitions that no run comes to."""
    for number, place in enumerate(net.places):
        if number not in entered:
            message = f"no token ever comes to {place.id}"
            found.warning("unreachable_place", f"net.places.{number}", message)
    names = {place.id: number for number, place in enumerate(net.places)}
    for number, one in enumerate(net.transitions):
        if number in fired:
            continue
        message = f"{one.id} never fires: no token comes to where it takes one"
        if all(names[name] in entered for name in one.from_places):
            message = f"{one.id} never fires: another transition always goes first, or it waits for"
            message += " tokens that do not come together"
        found.warning("unreachable_transition", f"net.transitions.{number}", message)


def check_loops(net: NetDefinition, explored: Explored, counts: Counts, found: NetFindings) -> None:
    """Find loops without a bound that cost something, or that never pause."""
    for loop in counts.loops:
        _spins(explored, loop, found)
        if any(edge.move.weight for _, edge in loop.moves):
            _paid(net, explored, loop, found)


def _spins(explored: Explored, loop: Loop, found: NetFindings) -> None:
    transitions = explored.net.transitions

    def is_instant(edge: Edge) -> bool:
        number = edge.move.transition
        if number < 0 or edge.move.weight:
            return False
        return transitions[number].action is None and not transitions[number].waits

    for number, edge in _rounds(loop, is_instant)[:1]:
        run = [*explored.run_to(number), edge.move.label]
        message = (
            "it comes round at once and for ever, as no data change: give it most, or an action"
        )
        found.error("spins", f"net.transitions.{edge.move.transition}.most", message, run)


def _paid(net: NetDefinition, explored: Explored, loop: Loop, found: NetFindings) -> None:
    transitions = explored.net.transitions

    def is_automatic(edge: Edge) -> bool:
        number = edge.move.transition
        return number >= 0 and not transitions[number].waits

    automatic = [one for one in _rounds(loop, is_automatic) if one[1].move.weight]
    number, edge = (automatic or [one for one in loop.moves if one[1].move.weight])[0]
    run = [*explored.run_to(number), edge.move.label]
    name = edge.move.transition
    path = f"net.transitions.{name}.most" if name >= 0 else "net.places"
    message = "nothing bounds how often this loop runs agents, tools or workflows: give it most"
    if automatic and net.budget is None:
        found.error("unbounded_loop", path, f"{message}, or the net a budget", run)
    else:
        found.warning("unbounded_loop", path, message, run)


def _rounds(loop: Loop, wanted: Callable[[Edge], bool]) -> list[tuple[int, Edge]]:
    """Return those moves of a loop that are wanted and come round by themselves."""
    left = [(number, edge) for number, edge in loop.moves if wanted(edge)]
    while left:
        sources = {number for number, _ in left}
        targets = {edge.target for _, edge in left}
        kept = [(n, edge) for n, edge in left if edge.target in sources and n in targets]
        if len(kept) == len(left):
            break
        left = kept
    return left


def bound(counts: Counts, name: str) -> int | None:
    """Return how often a run does something at most; None where there is no bound."""
    most = counts.most.get(name, inf if name not in (EXECUTIONS, CALLS) else 0)
    return None if most == inf else int(most)

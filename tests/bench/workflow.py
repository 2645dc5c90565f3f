"""Nets in memory beside SNAKES: the same net, the same tokens, the same process, in turns."""

from datetime import UTC, datetime
from time import process_time

import msgspec

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.firing import Run
from actors.workflow.core.scratch import apply
from actors.workflow.core.tokens import Marking
from schemas.nets import NetDefinition
from tests.bench.rows import Row
from tests.petri import nets

NAME = "workflow"
PLACES = 10
FIRINGS = 800
"""Of each token: fewer than may follow each other without a wait."""

TURNS = 5
NOW = datetime(2026, 1, 1, tzinfo=UTC)
RULES = [{"type": "field_greater_than", "field": "data.score", "value": 0.5}]


async def measure() -> list[Row]:
    """Return firings a second of processor time; what is enabled is searched each time."""
    rows: list[Row] = []
    for guarded, least in ((False, 20.0), (True, 5.0)):
        for tokens in (1, 10):
            # Taken in turns, since the machine has other work at times.
            ours = theirs = 0.0
            for _ in range(TURNS):
                ours = max(ours, _ours(guarded=guarded, tokens=tokens))
                theirs = max(theirs, _theirs(guarded=guarded, tokens=tokens))
            what = f"firings/s, {'guarded' if guarded else 'plain'}, {tokens} tokens, beside SNAKES"
            rows.append(Row(NAME, what, ours, "/s", theirs, least=least))
    return rows


def _ours(*, guarded: bool, tokens: int) -> float:
    """Let tokens go round in a ring, in events of as many steps as one may have."""
    transitions = [
        {
            "id": f"t{at}",
            "from_places": [f"p{at}"],
            "to_place": f"p{(at + 1) % PLACES}",
            "rules": RULES if guarded else [],
        }
        for at in range(PLACES)
    ]
    places = [{"id": f"p{at}"} for at in range(PLACES)]
    net = CompiledNet(
        msgspec.convert({"places": places, "transitions": transitions}, NetDefinition)
    )
    marking = _marked(net, tokens)
    fired, took = 0, 0.0
    while fired < FIRINGS:
        began = process_time()
        run = Run(net, marking, NOW)
        run.advance()
        event = run.event()
        took += process_time() - began
        if event is None:
            break
        fired += len(event.steps)
        marking = apply(marking, event)
    return fired / took


def _marked(net: CompiledNet, tokens: int) -> Marking:
    run = Run(net, Marking(), NOW)
    for _ in range(tokens):
        run.put("p0", {"score": 0.9}, {})
    event = run.event()
    return Marking() if event is None else apply(Marking(), event)


def _theirs(*, guarded: bool, tokens: int) -> float:
    """Do the same: look for what is enabled, and fire it."""
    net = nets.PetriNet("ring")
    for at in range(PLACES):
        net.add_place(nets.Place(f"p{at}", [0.9] * tokens if at == 0 else []))
    for at in range(PLACES):
        guard = nets.Expression("x > 0.5") if guarded else None
        net.add_transition(nets.Transition(f"t{at}", guard))
        net.add_input(f"p{at}", f"t{at}", nets.Variable("x"))
        net.add_output(f"p{(at + 1) % PLACES}", f"t{at}", nets.Variable("x"))
    transitions = [net.transition(f"t{at}") for at in range(PLACES)]
    fired, began = 0, process_time()
    while fired < FIRINGS:
        for transition in transitions:
            modes = transition.modes()
            if modes:
                transition.fire(modes[0])
                fired += 1
    return fired / (process_time() - began)

"""The door: everything that is found in a net, and what is proved of it. Pure."""

from collections.abc import Callable, Mapping

from actors.workflow.core.proof.abstracting import AGENT, TOOL, WORKFLOW, Abstract, abstracted
from actors.workflow.core.proof.actions import check_actions
from actors.workflow.core.proof.counting import CALLS, EXECUTIONS, Counts, count
from actors.workflow.core.proof.exploring import Explored, explore
from actors.workflow.core.proof.findings import NetFindings
from actors.workflow.core.proof.guarding import Guard, may_hold
from actors.workflow.core.proof.outcomes import (
    DOUBTS,
    bound,
    check_loops,
    check_markings,
    check_reached,
)
from actors.workflow.core.proof.structure import check_structure
from schemas.nets import NetDefinition, TransitionDefinition
from schemas.steps import Steps, at_once
from schemas.workflows import NetProof

NONE: Mapping[str, NetProof] = {}


def check(net: NetDefinition, children: Mapping[str, NetProof] = NONE) -> NetProof:
    """Prove a net, for one token in its initial place.

    ``children`` are the proofs of workflows that it runs: without them nothing is known of these.
    """
    return at_once(check_steps(net, children))


def check_steps(net: NetDefinition, children: Mapping[str, NetProof] = NONE) -> Steps[NetProof]:
    """Prove a net; it pauses every millisecond or so, and takes some seconds at most.

    What is written is looked at first: markings are searched where that is sound.
    """
    found = NetFindings()
    check_structure(net, found)
    yield from check_actions(net, found)
    if not found.refused:
        yield from _guards(net, found)
    if found.refused:
        return NetProof(findings=found.all())
    abstract = abstracted(net)
    explored = yield from explore(abstract, abstract.initial)
    counts = yield from count(explored)
    check_markings(net, explored, found)
    check_loops(net, explored, counts, found)
    if explored.complete:
        yield from _reached(net, abstract, explored, found)
    return _proof(explored, counts, children, found)


def _guards(net: NetDefinition, found: NetFindings) -> Steps[None]:
    places = {place.id: place for place in net.places}

    def never(guard: Guard, names: list[str]) -> bool:
        return not any(may_hold(guard, places[name])[0] for name in names)

    for number, one in enumerate(net.transitions):
        yield
        guard, path = Guard(one.rules, one.conditions), f"net.transitions.{number}"
        if never(guard, one.from_places):
            place, why = _culprit(one, path, never)
            found.error("never_holds", place, why)
    for number, place in enumerate(net.places):
        for which, agent in enumerate(place.agents):
            if never(Guard(agent.trigger_conditions), [place.id]):
                path = f"net.places.{number}.agents.{which}.trigger_conditions"
                found.error("never_holds", path, "these never hold together: no agent would run")


def _culprit(
    one: TransitionDefinition, path: str, never: Callable[[Guard, list[str]], bool]
) -> tuple[str, str]:
    """Return which rule or condition cannot hold by itself, or that all cannot together."""
    for number, rule in enumerate(one.rules):
        if never(Guard([rule]), one.from_places):
            return f"{path}.rules.{number}", "it never holds, whatever the token: correct the rule"
    for number, text in enumerate(one.conditions):
        if never(Guard([], [text]), one.from_places):
            return f"{path}.conditions.{number}", "it never holds: correct the expression"
    return f"{path}.rules", "these never hold together: they contradict each other"


def _reached(
    net: NetDefinition, abstract: Abstract, explored: Explored, found: NetFindings
) -> Steps[None]:
    entered, fired = set(explored.entered), set(explored.fired)
    for root in abstract.roots:
        more = yield from explore(abstract, root)
        entered |= more.entered
        fired |= more.fired
    check_reached(net, entered, fired, found)


def _proof(
    explored: Explored, counts: Counts, children: Mapping[str, NetProof], found: NetFindings
) -> NetProof:
    known = explored.complete
    executions = bound(counts, EXECUTIONS) if known else None
    calls = bound(counts, CALLS) if known else None
    workflows = _each(counts, WORKFLOW) if known else {}
    for name in {one for t in explored.net.transitions for one, _ in t.weight}:
        if not name.startswith(WORKFLOW):
            continue
        child = children.get(name.removeprefix(WORKFLOW), NetProof())
        times = workflows.get(name.removeprefix(WORKFLOW))
        executions = _plus(executions, times, child.executions)
        calls = _plus(calls, times, child.tool_calls)
        if child.executions is None:
            message = f"what {name.removeprefix(WORKFLOW)} runs is not known: apply it first"
            found.warning("unknown_child", "net.transitions", message)
    findings = found.all()
    doubted = any(one.severity != "warning" or one.code in DOUBTS for one in findings)
    return NetProof(
        findings=findings,
        markings=len(explored.states),
        executions=executions,
        tool_calls=calls,
        agents=_each(counts, AGENT) if known else {},
        tools=_each(counts, TOOL) if known else {},
        workflows=workflows,
        sound=known and not doubted,
    )


def _plus(own: int | None, times: int | None, each: int | None) -> int | None:
    if own is None or times is None or each is None:
        return None
    return own + times * each


def _each(counts: Counts, prefix: str) -> dict[str, int]:
    names = [name for name in counts.most if name.startswith(prefix)]
    known = {name.removeprefix(prefix): bound(counts, name) for name in names}
    return {name: most for name, most in known.items() if most is not None}

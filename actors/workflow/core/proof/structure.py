"""Whether places, transitions and triggers fit together: names, sources, targets, bounds. Pure."""

from collections import Counter
from collections.abc import Iterable

from actors.workflow.core.proof.findings import NetFindings
from actors.workflow.core.proof.guarding import Guard, counters_of
from schemas.nets import EventTrigger, NetDefinition, PlaceDefinition, TransitionDefinition

ENDS = ("terminal", "error")
"""Types of places in which a token has come to its end."""


class _Known:
    """What a net has under which names."""

    def __init__(self, net: NetDefinition) -> None:
        self.places = {place.id: place for place in net.places}
        self.transitions = {transition.id: transition for transition in net.transitions}


def check_structure(net: NetDefinition, found: NetFindings) -> None:
    """Find names that are missing or used twice, and parts that contradict each other."""
    known = _Known(net)
    _initial(net, found)
    _twice("duplicate_place", "net.places", (one.id for one in net.places), found)
    _twice("duplicate_transition", "net.transitions", (one.id for one in net.transitions), found)
    _twice("duplicate_trigger", "net.triggers", (one.id for one in net.triggers), found)
    for number, place in enumerate(net.places):
        _place(place, f"net.places.{number}", known, found)
        _dead_end(place, f"net.places.{number}", net, found)
    for number, transition in enumerate(net.transitions):
        path = f"net.transitions.{number}"
        _sources(transition, path, known, found)
        _targets(transition, path, known, found)
        _groups(transition, path, known, net, found)
        _errors(transition, path, known, net, found)
        _counters(transition, path, known, found)
    for number, trigger in enumerate(net.triggers):
        if isinstance(trigger, EventTrigger):
            _trigger(trigger, f"net.triggers.{number}", known, found)
    for number, name in enumerate(net.budget.final if net.budget is not None else ()):
        _transition_known(name, f"net.budget.final.{number}", known, found)


def _initial(net: NetDefinition, found: NetFindings) -> None:
    places = [number for number, place in enumerate(net.places) if place.type == "initial"]
    if not places:
        found.error("no_initial", "net.places", "give one place the type initial")
    for number in places[1:]:
        path = f"net.places.{number}.type"
        found.error("several_initial", path, "only one place may be initial")


def _twice(code: str, path: str, names: Iterable[str], found: NetFindings) -> None:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            found.error(code, f"{path}.{number}.id", f"another one is named {name}: rename it")
        seen.add(name)


def _place_known(name: str, path: str, known: _Known, found: NetFindings) -> bool:
    if name not in known.places:
        found.error("unknown_place", path, f"there is no place {name}")
    return name in known.places


def _transition_known(name: str, path: str, known: _Known, found: NetFindings) -> bool:
    if name not in known.transitions:
        found.error("unknown_transition", path, f"there is no transition {name}")
    return name in known.transitions


def _place(place: PlaceDefinition, path: str, known: _Known, found: NetFindings) -> None:
    if place.timeout is not None:
        _place_known(place.timeout.to_place, f"{path}.timeout.to_place", known, found)
        if place.type in ENDS:
            found.error("end_has_timeout", f"{path}.timeout", "a token ends here: take it away")
    if place.agents and place.type in ENDS:
        found.error("end_has_agents", f"{path}.agents", "a token ends here: no agent would run")
    named = (one.id or f"#{number}" for number, one in enumerate(place.agents))
    _twice("duplicate_agent", f"{path}.agents", named, found)
    for number, agent in enumerate(place.agents):
        inner = f"{path}.agents.{number}"
        if agent.schedule.max_executions > 1 and agent.schedule.interval_seconds is None:
            message = "say how long after one execution the next begins"
            found.error("no_interval", f"{inner}.schedule.interval_seconds", message)
        name = agent.auto_transition
        if name is None or not _transition_known(name, f"{inner}.auto_transition", known, found):
            continue
        if place.id not in known.transitions[name].from_places:
            message = f"{name} takes no token from {place.id}: name it in from_places"
            found.error("auto_transition_elsewhere", f"{inner}.auto_transition", message)


def _dead_end(place: PlaceDefinition, path: str, net: NetDefinition, found: NetFindings) -> None:
    left = any(place.id in one.from_places for one in net.transitions)
    if place.type not in ENDS and place.timeout is None and not left:
        message = "a token never leaves: add a transition from here, or make the place terminal"
        found.error("dead_end", path, message)


def _sources(
    transition: TransitionDefinition, path: str, known: _Known, found: NetFindings
) -> None:
    for number, name in enumerate(transition.from_places):
        inner = f"{path}.from_places.{number}"
        if name in transition.from_places[:number]:
            found.error("duplicate_source", inner, f"{name} is named twice")
        if _place_known(name, inner, known, found) and known.places[name].type in ENDS:
            message = f"a token in {name} has ended: give the place another type"
            found.error("end_has_transition", inner, message)


def _targets(
    transition: TransitionDefinition, path: str, known: _Known, found: NetFindings
) -> None:
    one, several = transition.to_place, transition.to_places
    if one is None and not several:
        found.error("no_target", f"{path}.to_place", "say where the token goes")
    if one is not None and several:
        found.error("two_targets", f"{path}.to_places", "give to_place or to_places, not both")
    if one is not None:
        _place_known(one, f"{path}.to_place", known, found)
    for number, name in enumerate(several):
        _place_known(name, f"{path}.to_places.{number}", known, found)
    for name, times in Counter(several).items():
        capacity = known.places[name].capacity if name in known.places else None
        if capacity is not None and times > capacity:
            message = f"{times} tokens are put into {name}, which holds {capacity}"
            found.error("capacity_never", f"{path}.to_places", message)


def _groups(
    transition: TransitionDefinition,
    path: str,
    known: _Known,
    net: NetDefinition,
    found: NetFindings,
) -> None:
    if transition.fork is not None:
        _fork(transition, path, known, found)
    join = transition.join
    if join is None:
        return
    if transition.mode == "all":
        message = "a join takes tokens of one group wherever they lie: use mode any"
        found.error("join_with_all", f"{path}.join", message)
    if join.need is not None and join.least > join.need:
        message = f"least must not be above need, which is {join.need}"
        found.error("join_least", f"{path}.join.least", message)
    sizes = [one.fork.most for one in net.transitions if one.fork is not None]
    sizes += [len(one.to_places) for one in net.transitions if one.to_places]
    if not sizes:
        found.error("join_without_fork", f"{path}.join", "no transition makes a group: add a fork")
    elif join.need is not None and join.need > max(sizes):
        message = f"no group has so many tokens: the largest has {max(sizes)}"
        found.error("join_never", f"{path}.join.need", message)
    capacities = [
        known.places[name].capacity for name in transition.from_places if name in known.places
    ]
    room = None if None in capacities else sum(one or 0 for one in capacities)
    if room is not None and join.need is not None and join.need > room:
        message = f"its places hold {room} tokens at most"
        found.error("capacity_never", f"{path}.join.need", message)


def _fork(transition: TransitionDefinition, path: str, known: _Known, found: NetFindings) -> None:
    fork = transition.fork
    if fork is None:
        return
    if transition.to_places:
        message = "a fork puts its tokens into one place: give to_place"
        found.error("fork_targets", f"{path}.to_places", message)
    if fork.empty_to is not None:
        _place_known(fork.empty_to, f"{path}.fork.empty_to", known, found)
    target = known.places.get(transition.to_place or "")
    if target is not None and target.capacity is not None and fork.most > target.capacity:
        message = f"{target.id} holds {target.capacity} tokens at most: a larger group never fits"
        found.error("capacity_never", f"{path}.fork.most", message)


def _errors(
    transition: TransitionDefinition,
    path: str,
    known: _Known,
    net: NetDefinition,
    found: NetFindings,
) -> None:
    policy, inner = transition.on_error, f"{path}.on_error"
    if policy.then == "route" and policy.to_place is None:
        message = "say to which place a token goes whose action has failed"
        found.error("route_without_place", f"{inner}.to_place", message)
    if policy.to_place is not None:
        _place_known(policy.to_place, f"{inner}.to_place", known, found)
        if policy.then != "route":
            message = f"{policy.then} takes no place: say then: route"
            found.error("place_without_route", f"{inner}.to_place", message)
    undone = any(one.compensation is not None for one in net.transitions)
    if policy.then == "compensate" and not undone:
        message = "no transition has a compensation: give one, or choose fail"
        found.warning("nothing_to_compensate", f"{inner}.then", message)
    compensates = any(one.on_error.then == "compensate" for one in net.transitions)
    if transition.compensation is not None and not compensates:
        message = "nothing compensates: set on_error.then of a later transition"
        found.warning("never_compensated", f"{path}.compensation", message)


def _counters(
    transition: TransitionDefinition, path: str, known: _Known, found: NetFindings
) -> None:
    guards = [(f"rules.{n}", Guard([rule])) for n, rule in enumerate(transition.rules)]
    guards += [(f"conditions.{n}", Guard([], [x])) for n, x in enumerate(transition.conditions)]
    for place, guard in guards:
        for name in counters_of([guard]):
            if name not in known.transitions or known.transitions[name].most is None:
                message = f"{name} is not counted: only a transition that has a most is"
                found.error("unknown_counter", f"{path}.{place}", message)


def _trigger(trigger: EventTrigger, path: str, known: _Known, found: NetFindings) -> None:
    if trigger.place is not None:
        _place_known(trigger.place, f"{path}.place", known, found)
    if trigger.transition is not None:
        _transition_known(trigger.transition, f"{path}.transition", known, found)
    if trigger.does == "fire" and trigger.transition is None:
        found.error("trigger_target", f"{path}.transition", "say which transition fires")
    if trigger.does == "put_token" and trigger.place is None:
        found.error("trigger_target", f"{path}.place", "say where the token is put")
    if trigger.does != "start" and trigger.key is None:
        message = "say by an expression over event which instance is meant"
        found.error("trigger_key", f"{path}.key", message)

"""A net without data: numbers in place of names, and what is kept of a token. Pure.

Of a token are kept its place, its groups, and those counters on which anything depends that it may
still reach: others would tell markings apart that behave alike.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from actors.workflow.core.proof.guarding import Guard, counters_of
from actors.workflow.core.proof.structure import ENDS
from schemas.nets import (
    Action,
    AgentTransitionConfig,
    EventAction,
    EventTrigger,
    HumanAction,
    NetDefinition,
    PlaceAgentConfig,
    PlaceDefinition,
    TimerAction,
    ToolAction,
    TransitionDefinition,
    WorkflowAction,
)

Weight = tuple[tuple[str, int], ...]
"""How often a step runs what at most: ``agent:<id>``, ``tool:<server/tool>``, ``workflow:<id>``."""

AGENT, TOOL, WORKFLOW = "agent:", "tool:", "workflow:"


class Place(NamedTuple):
    """A place. ``timeout`` is where a token goes that has lain too long, -1 for nowhere.

    ``live`` says which counters matter to a token here, ``looks_at`` which of them at once.
    ``rests``: others than the net may change a token here, so that it may wait without a fault.
    ``is_local``: what becomes of a token here depends on no other token. ``is_open``: others than
    the net put tokens here. ``cascades`` are transitions that its agents fire.
    """

    definition: PlaceDefinition
    ends: bool
    rests: bool
    capacity: int | None
    timeout: int
    out: tuple[int, ...]
    cascades: frozenset[int]
    weight: Weight
    live: tuple[bool, ...]
    looks_at: tuple[int, ...]
    is_local: bool
    is_open: bool


class Transition(NamedTuple):
    """A transition. ``counter`` is which of a token's counters it raises, -1 for none.

    ``sizes`` are those of the groups that it makes by a fork. ``route`` is where a token goes when
    it has failed, -1 for nowhere. ``waits``: it needs a person, an event or time. ``needs_room``: a
    place that it puts tokens into has a capacity.
    """

    definition: TransitionDefinition
    action: Action | None
    sources: tuple[int, ...]
    targets: tuple[int, ...]
    sizes: tuple[int, ...]
    empty_to: int
    route: int
    counter: int
    guard: Guard
    weight: Weight
    waits: bool
    needs_room: bool


class Abstract(NamedTuple):
    """A net. ``counted`` are the transitions with counters, ``caps`` their highest values.

    ``roots`` are places where triggers put tokens.
    """

    places: tuple[Place, ...]
    transitions: tuple[Transition, ...]
    initial: int
    roots: tuple[int, ...]
    counted: tuple[str, ...]
    caps: tuple[int, ...]
    most_tokens: int


def abstracted(net: NetDefinition) -> Abstract:
    """Return what is looked at of a net whose structure is sound."""
    numbers = {place.id: number for number, place in enumerate(net.places)}
    guards = [Guard(one.rules, one.conditions) for one in net.transitions]
    caps = _caps(net, guards)
    counted = tuple(caps)
    bounded = {place.id for place in net.places if place.capacity is not None}
    compensates = any(one.on_error.then == "compensate" for one in net.transitions)
    transitions = tuple(
        _transition(one, guard, numbers, counted, bounded, compensates=compensates)
        for one, guard in zip(net.transitions, guards, strict=True)
    )
    roots = tuple(
        numbers[trigger.place]
        for trigger in net.triggers
        if isinstance(trigger, EventTrigger) and trigger.does == "put_token" and trigger.place
    )
    looks = [_looked_at(one, counted) for one in transitions]
    live = _live(net, transitions, looks, numbers, counted)
    return Abstract(
        places=tuple(
            _place(
                place,
                number,
                transitions,
                numbers,
                (live[number], _at(number, transitions, looks, counted)),
                is_open=number in roots,
            )
            for number, place in enumerate(net.places)
        ),
        transitions=transitions,
        initial=next(n for n, place in enumerate(net.places) if place.type == "initial"),
        roots=roots,
        counted=counted,
        caps=tuple(caps.values()),
        most_tokens=net.most_tokens,
    )


def attempts(action: Action | PlaceAgentConfig) -> int:
    """Return how often an action is attempted at most."""
    return action.retry_config.max_attempts if action.retry_config is not None else 1


def _caps(net: NetDefinition, guards: list[Guard]) -> dict[str, int]:
    triggers = [Guard(agent.trigger_conditions) for place in net.places for agent in place.agents]
    looked_at = counters_of([*guards, *triggers])
    found: dict[str, int] = {}
    for one in net.transitions:
        if one.most is not None:
            found[one.id] = max(one.most, looked_at.get(one.id, 0))
    return found


def _weight(actions: Iterable[tuple[Action | PlaceAgentConfig | None, int]]) -> Weight:
    total = Counter[str]()
    for action, times in actions:
        name = _runs(action)
        if action is not None and name is not None:
            total[name] += attempts(action) * times
    return tuple(sorted(total.items()))


def _runs(action: Action | PlaceAgentConfig | None) -> str | None:
    match action:
        case AgentTransitionConfig() | PlaceAgentConfig():
            return f"{AGENT}{action.agent_id}"
        case ToolAction():
            return f"{TOOL}{action.server}/{action.tool}"
        case WorkflowAction():
            return f"{WORKFLOW}{action.workflow_id}"
        case _:
            return None


def _transition(
    one: TransitionDefinition,
    guard: Guard,
    numbers: dict[str, int],
    counted: tuple[str, ...],
    bounded: set[str],
    *,
    compensates: bool,
) -> Transition:
    action = one.action or one.agent_execution
    undone = one.compensation if compensates else None
    names = [*one.to_places, *([one.to_place] if one.to_place is not None else [])]
    targets = tuple(numbers[name] for name in names)
    fork, policy = one.fork, one.on_error
    return Transition(
        definition=one,
        action=action,
        sources=tuple(numbers[name] for name in one.from_places),
        targets=targets,
        sizes=tuple(sorted({0, 1, fork.most})) if fork is not None else (),
        empty_to=numbers[fork.empty_to] if fork is not None and fork.empty_to else -1,
        route=numbers[policy.to_place or ""] if policy.then == "route" else -1,
        counter=counted.index(one.id) if one.id in counted else -1,
        guard=guard,
        weight=_weight([(action, 1), (undone, 1)]),
        waits=one.manual or isinstance(action, HumanAction | EventAction | TimerAction),
        needs_room=not bounded.isdisjoint(names),
    )


def _place(
    place: PlaceDefinition,
    number: int,
    transitions: tuple[Transition, ...],
    numbers: dict[str, int],
    counters: tuple[tuple[bool, ...], tuple[int, ...]],
    *,
    is_open: bool,
) -> Place:
    out = [n for n, one in enumerate(transitions) if number in one.sources]
    out.sort(key=lambda n: -transitions[n].definition.priority)
    names = {one.auto_transition for one in place.agents}
    live, looks_at = counters
    taking = [transitions[n] for n in out]
    return Place(
        definition=place,
        ends=place.type in ENDS,
        rests=place.type in ("waiting", "review"),
        capacity=place.capacity,
        timeout=numbers[place.timeout.to_place] if place.timeout is not None else -1,
        out=tuple(out),
        cascades=frozenset(n for n in out if transitions[n].definition.id in names),
        weight=_weight((one, one.schedule.max_executions) for one in place.agents),
        live=live,
        looks_at=looks_at,
        is_local=place.capacity is None and not any(map(is_shared, taking)),
        is_open=is_open,
    )


def is_shared(one: Transition) -> bool:
    """Say whether it depends on several tokens whether a transition fires."""
    return one.definition.join is not None or takes_all(one) or one.needs_room


def takes_all(one: Transition) -> bool:
    """Say whether a transition takes a token from each of several places."""
    return one.definition.mode == "all" and len(one.sources) > 1


def _live(
    net: NetDefinition,
    transitions: tuple[Transition, ...],
    looks: list[set[str]],
    numbers: dict[str, int],
    counted: tuple[str, ...],
) -> list[tuple[bool, ...]]:
    """Return for each place which counters matter to a token there."""
    follows: dict[int, set[int]] = {number: set() for number in range(len(net.places))}
    for place in net.places:
        if place.timeout is not None:
            follows[numbers[place.id]].add(numbers[place.timeout.to_place])
    for one in transitions:
        for source in one.sources:
            follows[source].update(_targets(one))
    found: list[tuple[bool, ...]] = []
    for number in range(len(net.places)):
        reached = _closure(number, follows)
        names = {
            name
            for one, some in zip(transitions, looks, strict=True)
            if not reached.isdisjoint(one.sources)
            for name in some
        }
        for place in (net.places[n] for n in reached):
            names |= counters_of(Guard(one.trigger_conditions) for one in place.agents).keys()
        found.append(tuple(name in names for name in counted))
    return found


def _at(
    place: int,
    transitions: tuple[Transition, ...],
    looks: list[set[str]],
    counted: tuple[str, ...],
) -> tuple[int, ...]:
    """Return which counters decide on what may happen to a token in a place."""
    out = [some for one, some in zip(transitions, looks, strict=True) if place in one.sources]
    return tuple(sorted({counted.index(name) for some in out for name in some}))


def _looked_at(one: Transition, counted: tuple[str, ...]) -> set[str]:
    own = {one.definition.id} if one.definition.most is not None else set[str]()
    return (own | counters_of([one.guard]).keys()) & set(counted)


def _targets(one: Transition) -> Iterator[int]:
    yield from one.targets
    yield from (n for n in (one.empty_to, one.route) if n >= 0)


def _closure(start: int, follows: dict[int, set[int]]) -> set[int]:
    reached, waiting = {start}, [start]
    while waiting:
        new = follows[waiting.pop()] - reached
        reached |= new
        waiting.extend(new)
    return reached

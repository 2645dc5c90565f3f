"""Compiled nets: guards as functions, and by place the transitions that a change there may enable.

Transitions are ranked: the highest priority first, then the order of the definition. A set of them
is an integer whose bits are ranks, so that the next one to look at is its lowest bit.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from actors.workflow.core.conditions import Condition
from actors.workflow.core.mapping import Request, request, transformed, unwritable
from actors.workflow.core.paths import Readable, Reader, reader, target
from actors.workflow.core.rules import Guard, Verdict, guard, verdicts
from actors.workflow.core.tokens import Firing
from schemas.nets import (
    Action,
    EmitAction,
    EventAction,
    NetDefinition,
    PlaceAgentConfig,
    PlaceDefinition,
    PublishAction,
    TransformAction,
    TransitionDefinition,
)

INSTANT = PublishAction | EmitAction | TransformAction
"""What is done as soon as it begins."""


class NetFault(NamedTuple):
    """What cannot be compiled, by the path of its field. What is there instead never holds."""

    path: str
    message: str


class CompiledAction:
    """What an action is asked, and the definition that says the rest."""

    __slots__ = ("definition", "is_instant", "request")

    def __init__(self, definition: Action | PlaceAgentConfig) -> None:
        self.definition = definition
        self.request: Request = request(definition)
        self.is_instant = isinstance(definition, INSTANT)


class CompiledTransition:
    """A transition. ``is_move``: it moves one token as it is; ``is_plain``: out of one place."""

    __slots__ = (
        "action",
        "auto",
        "compensation",
        "conditions",
        "definition",
        "event",
        "guard",
        "id",
        "is_move",
        "is_plain",
        "most",
        "over",
        "rank",
        "source",
        "sources",
        "take",
        "target",
        "targets",
        "touch",
        "transform",
    )

    def __init__(self, definition: TransitionDefinition, rank: int, *, hosted: bool) -> None:
        action = definition.action or definition.agent_execution
        self.definition = definition
        self.rank = rank
        self.id = definition.id
        self.auto = not definition.manual
        self.sources: tuple[str, ...] = tuple(dict.fromkeys(definition.from_places))
        single = () if definition.to_place is None else (definition.to_place,)
        self.targets: tuple[str, ...] = (*single, *definition.to_places)
        # What a move needs, at hand.
        self.source, self.target, self.touch = self.sources[0], (*self.targets, "")[0], 0
        self.most = definition.most
        self.conditions = [Condition(each) for each in definition.conditions]
        self.guard: Guard | None = self._guard()
        is_transform = isinstance(action, TransformAction)
        self.transform = transformed(action) if is_transform else None
        self.action = None if action is None or is_transform else CompiledAction(action)
        self.event = (
            Condition(action.condition)
            if isinstance(action, EventAction) and action.condition
            else None
        )
        self.compensation = (
            CompiledAction(definition.compensation) if definition.compensation else None
        )
        self.over: Reader | None = reader(definition.fork.over) if definition.fork else None
        self.take: Reader | None = reader(definition.join.take) if definition.join else None
        self.is_move = self._only_moves()
        self.is_plain = self.is_move and not hosted and len(self.sources) == 1

    def _only_moves(self) -> bool:
        each = self.definition
        return (
            len(self.targets) == 1
            and (each.mode == "any" or len(self.sources) == 1)
            and self.most is None
            and self.action is None
            and self.transform is None
            and self.compensation is None
            and each.fork is None
            and each.join is None
        )

    def _guard(self) -> Guard | None:
        rules = guard(self.definition.rules) if self.definition.rules else None
        conditions = [each.holds for each in self.conditions]
        if not conditions:
            return rules
        if rules is None and len(conditions) == 1:
            return conditions[0]
        guards: list[Guard] = [*([rules] if rules else []), *conditions]
        return lambda token: all(each(token) for each in guards)

    def verdicts(self, token: Readable) -> list[Verdict]:
        """Tell of each rule and condition whether it holds for a token, and why."""
        told = verdicts(self.definition.rules, token)
        return told + [each.verdict(token) for each in self.conditions]


class CompiledPlace:
    """A place, with its agents and when they are to run."""

    __slots__ = ("agents", "capacity", "definition", "is_end", "timeout", "triggers")

    def __init__(self, definition: PlaceDefinition) -> None:
        self.definition = definition
        self.capacity = definition.capacity
        self.timeout = definition.timeout
        self.is_end = definition.type in {"terminal", "error"}
        self.agents = [CompiledAction(each) for each in definition.agents]
        self.triggers = [guard(each.trigger_conditions) for each in definition.agents]


class CompiledNet:
    """A net, ready to run. ``faults`` tell what could not be compiled."""

    def __init__(self, net: NetDefinition) -> None:
        self.definition = net
        self.places = {each.id: CompiledPlace(each) for each in net.places}
        self.hosts = frozenset(each.id for each in net.places if each.agents)
        self.ranked = self._ranked(net)
        self.by_id = {each.id: each for each in self.ranked}
        self.auto = sum(1 << each.rank for each in self.ranked if each.auto)
        self.is_bounded = any(each.capacity for each in net.places)
        self.touch = {name: self._touching(name) for name in self.places}
        self.growing = self._growing()
        for each in self.ranked:
            each.touch = self.touch.get(each.target, 0)
        self.timed = [each.id for each in net.places if each.timeout is not None]
        self.joins = [each for each in self.ranked if each.definition.join is not None]
        self.final = frozenset(net.budget.final) if net.budget else frozenset[str]()
        self.faults = tuple(_faults(net))

    @property
    def initial(self) -> str:
        """Return the place where an instance begins; the first one if none says that it is it."""
        kinds = {each.type: each.id for each in reversed(self.definition.places)}
        return kinds.get("initial", self.definition.places[0].id)

    def is_end(self, place: str) -> bool:
        """Say whether a token in a place has come to its end."""
        found = self.places.get(place)
        return found is not None and found.is_end

    def _ranked(self, net: NetDefinition) -> list[CompiledTransition]:
        order = sorted(net.transitions, key=lambda each: -each.priority)
        return [
            CompiledTransition(each, rank, hosted=self._is_hosted(each))
            for rank, each in enumerate(order)
        ]

    def _is_hosted(self, each: TransitionDefinition) -> bool:
        """Say whether agents or room of places have to be looked at when a transition fires."""
        places = {*each.from_places, *each.to_places, each.to_place}
        return any(
            place.agents or place.capacity for place in self.definition.places if place.id in places
        )

    def _growing(self) -> int:
        """Return which transitions may become enabled when there are fewer tokens, or more room."""
        bounded = {name for name, place in self.places.items() if place.capacity}
        return sum(
            1 << each.rank
            for each in self.ranked
            if each.auto
            and (
                each.over is not None
                or len(each.targets) > 1
                or not bounded.isdisjoint(each.targets)
            )
        )

    def action_of(self, firing: Firing) -> Action | PlaceAgentConfig | None:
        """Return the action that runs; None for a transition without one, or one that is gone."""
        compiled = self.compiled_action(firing)
        return None if compiled is None else compiled.definition

    def compiled_action(self, firing: Firing) -> "CompiledAction | None":
        """Return the same, compiled."""
        if firing.kind == "place":
            place = self.places.get(firing.name)
            agents = place.agents if place is not None else []
            return agents[firing.agent] if firing.agent < len(agents) else None
        transition = self.by_id.get(firing.name)
        if transition is None:
            return None
        return transition.compensation if firing.kind == "undo" else transition.action

    def _touching(self, place: str) -> int:
        """Return which transitions a change of a place may enable."""
        return sum(1 << each.rank for each in self.ranked if each.auto and place in each.sources)


def _faults(net: NetDefinition) -> list[NetFault]:
    found: list[NetFault] = []
    for at, each in enumerate(net.transitions):
        path = f"net.transitions.{at}"
        found += _expressions(f"{path}.conditions", each.conditions)
        name = "action" if each.action else "agent_execution"
        for field, action in (
            (name, each.action or each.agent_execution),
            ("compensation", each.compensation),
        ):
            if action is not None:
                found += _of_action(f"{path}.{field}", action)
        written = {
            "fork.into": each.fork and each.fork.into,
            "join.into": each.join and each.join.into,
        }
        found += [
            NetFault(f"{path}.{field}", f"{goes} cannot be set")
            for field, goes in written.items()
            if goes is not None and target(goes) is None
        ]
    for at, place in enumerate(net.places):
        for index, agent in enumerate(place.agents):
            found += _of_action(f"net.places.{at}.agents.{index}", agent)
    return found


def _of_action(path: str, action: Action | PlaceAgentConfig) -> list[NetFault]:
    found = [NetFault(path, f"{each} cannot be set") for each in unwritable(action)]
    if isinstance(action, TransformAction):
        for name, source in action.expressions.items():
            found += _expression(f"{path}.expressions.{name}", source)
    if isinstance(action, EventAction) and action.condition is not None:
        found += _expression(f"{path}.condition", action.condition)
    fields: dict[str, Any] = {name: getattr(action, name, None) for name in ("task", "task_is")}
    if fields["task_is"] == "expression":
        found += _expression(f"{path}.task", str(fields["task"]))
    return found


def _expressions(path: str, sources: Sequence[str]) -> list[NetFault]:
    return [fault for at, each in enumerate(sources) for fault in _expression(f"{path}.{at}", each)]


def _expression(path: str, source: str) -> list[NetFault]:
    fault = Condition(source).fault
    return [] if fault is None else [NetFault(path, fault)]

"""Workflow definitions in Python: the same nets as YAML files give, checked by the type checker.

    net = (
        NetBuilder()
        .place("draft", "initial")
        .place("approved", "terminal")
        .place("rejected", "terminal")
        .transition("approve", "draft", "approved", when=[field("data.score") > 0.8], priority=1)
        .transition("reject", "draft", "rejected")
        .build()
    )

Parts that have no short form are those of ``schemas.nets``.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, Self, TypedDict, Unpack

from schemas.nets import (
    Action,
    AllRules,
    AnyRule,
    ErrorPolicy,
    FieldContains,
    FieldEquals,
    FieldExists,
    FieldGreaterThan,
    FieldLessThan,
    Fork,
    Join,
    NetDefinition,
    NotRule,
    PlaceAgentConfig,
    PlaceDefinition,
    PlaceTimeout,
    Rule,
    RunBudget,
    TransitionDefinition,
    Trigger,
)

PlaceType = Literal["normal", "initial", "terminal", "error", "waiting", "review"]


class PlaceOptions(TypedDict, total=False):
    """What a place may have beside its id and type."""

    capacity: int
    timeout: PlaceTimeout
    agents: list[PlaceAgentConfig]
    data_schema: dict[str, Any]
    description: str


class TransitionOptions(TypedDict, total=False):
    """What a transition may have beside where tokens come from and go."""

    action: Action
    mode: Literal["any", "all"]
    manual: bool
    priority: int
    most: int
    fork: Fork
    join: Join
    as_group: bool
    on_error: ErrorPolicy
    compensation: Action
    description: str


class NetOptions(TypedDict, total=False):
    """What a net may have beside its parts."""

    agents: list[str]
    budget: RunBudget
    seconds: float
    most_tokens: int


class NetBuilder:
    """Collects the parts of a net in the order in which they are named."""

    def __init__(self) -> None:
        self._places: list[PlaceDefinition] = []
        self._transitions: list[TransitionDefinition] = []
        self._triggers: list[Trigger] = []

    def place(
        self, name: str, kind: PlaceType = "normal", /, **options: Unpack[PlaceOptions]
    ) -> Self:
        """Add a place."""
        self._places.append(PlaceDefinition(id=name, type=kind, **options))
        return self

    def transition(
        self,
        name: str,
        sources: str | Sequence[str],
        targets: str | Sequence[str],
        /,
        *,
        when: Iterable[Rule | str] = (),
        **options: Unpack[TransitionOptions],
    ) -> Self:
        """Add a transition. Of what must hold, texts are conditions in CEL."""
        guards = list(when)
        one = TransitionDefinition(
            id=name,
            from_places=_listed(sources),
            to_place=targets if isinstance(targets, str) else None,
            to_places=[] if isinstance(targets, str) else _listed(targets),
            rules=[each for each in guards if not isinstance(each, str)],
            conditions=[each for each in guards if isinstance(each, str)],
            **options,
        )
        self._transitions.append(one)
        return self

    def trigger(self, trigger: Trigger) -> Self:
        """Add what starts an instance, or acts on one."""
        self._triggers.append(trigger)
        return self

    def build(self, **options: Unpack[NetOptions]) -> NetDefinition:
        """Return the net. What is wrong with it says ``callboard workflows check``, not this."""
        return NetDefinition(
            places=self._places, transitions=self._transitions, triggers=self._triggers, **options
        )


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


class NetField:
    """A field of a token, of which rules are made."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __gt__(self, value: float) -> FieldGreaterThan:
        """It is a number above this one."""
        return FieldGreaterThan(field=self._path, value=value)

    def __lt__(self, value: float) -> FieldLessThan:
        """It is a number below this one."""
        return FieldLessThan(field=self._path, value=value)

    def equals(self, value: Any) -> FieldEquals:
        """It has this value."""
        return FieldEquals(field=self._path, value=value)

    def contains(self, value: Any) -> FieldContains:
        """It is a text or a list with this in it."""
        return FieldContains(field=self._path, value=value)

    def exists(self) -> FieldExists:
        """It is there, and not null."""
        return FieldExists(field=self._path)


def field(path: str) -> NetField:
    """Name a field of a token, to make rules of it: ``field("data.score") > 0.8``."""
    return NetField(path)


def all_of(*rules: Rule) -> AllRules:
    """Make one rule of several that must hold."""
    return AllRules(rules=list(rules))


def any_of(*rules: Rule) -> AnyRule:
    """Make one rule of several of which one must hold."""
    return AnyRule(rules=list(rules))


def negated(rule: Rule) -> NotRule:
    """Make the rule that holds where this one does not."""
    return NotRule(rule=rule)

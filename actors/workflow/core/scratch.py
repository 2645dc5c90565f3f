"""A marking that is worked on: tokens by place, changed in place, and frozen when all is done.

Every step is applied by the same code, whether it has just been decided or is read from a journal.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec

from actors.workflow.core.paths import removed, target, written
from actors.workflow.core.steps import (
    ActionAgain,
    ActionBegun,
    ActionEnded,
    ActionFailed,
    ActionPutOff,
    Fired,
    Metered,
    Moved,
    NetFailed,
    NetStepped,
    PlaceAgentBegun,
    Rehoused,
    Step,
    TimedOut,
    TokenChange,
    TokensSet,
    UndoBegun,
)
from actors.workflow.core.tokens import AgentRuns, Firing, GroupMark, Marking, NetToken, Undo

EMPTY: dict[str, Any] = {}


class Live:
    """A token that is worked on: ``NetToken`` with fields that are set anew, never changed."""

    __slots__ = (
        "counters",
        "data",
        "group",
        "hops",
        "id",
        "metadata",
        "moves",
        "place",
        "runs",
        "since",
    )

    def __init__(self, token: "NetToken | Live") -> None:
        self.id: str = token.id
        self.place: str = token.place
        self.since: datetime = token.since
        self.data: dict[str, Any] = token.data
        self.metadata: dict[str, Any] = token.metadata
        self.counters: dict[str, int] = token.counters
        self.group: tuple[GroupMark, ...] = token.group
        self.moves: int = token.moves
        self.hops: int = token.hops
        self.runs: dict[str, AgentRuns] = token.runs

    def frozen(self) -> NetToken:
        """Return it as a value."""
        return NetToken(
            id=self.id,
            place=self.place,
            since=self.since,
            data=self.data,
            metadata=self.metadata,
            counters=self.counters,
            group=self.group,
            moves=self.moves,
            hops=self.hops,
            runs=self.runs,
        )


Lying = NetToken | Live


def changed(base: Lying | None, change: TokenChange, at: datetime) -> Live:
    """Return a token as a change puts it; without a base it is a new one."""
    live = Live(base or NetToken(id=change.id, place="", since=at))
    if change.data is not None:
        live.data = change.data
    if change.metadata is not None:
        live.metadata = change.metadata
    if change.drops or change.sets:
        _write(live, change)
    if change.counters is not None:
        live.counters = change.counters
    if change.group is not None:
        live.group = change.group
    if change.runs:
        live.runs = {**live.runs, **change.runs}
    if change.place is not None:
        live.place, live.since, live.runs = change.place, at, {}
        if base is not None:
            live.moves += 1
            live.hops += 1
    if change.rested:
        live.hops = 0
    live.id = change.id
    return live


def _write(live: Live, change: TokenChange) -> None:
    whole: dict[str, Any] = {"data": live.data, "metadata": live.metadata}
    for path in change.drops:
        whole = removed(whole, target(path) or ("",))
    for path, value in change.sets.items():
        whole = written(whole, target(path) or ("data", path), value)
    live.data, live.metadata = whole["data"], whole["metadata"]


class Scratch:
    """A marking, opened. ``places`` has what lies where, in the order of arrival."""

    __slots__ = (
        "at",
        "busy",
        "cramped",
        "failing",
        "firings",
        "next_id",
        "not_undone",
        "places",
        "problem",
        "reserve",
        "tokens",
        "touched",
        "undo",
        "wrap_up",
    )

    def __init__(self, marking: Marking, at: datetime) -> None:
        self.at = at
        self.tokens: dict[str, Lying] = {**marking.tokens}
        self.firings: dict[str, Firing] = {**marking.firings}
        self.places: defaultdict[str, dict[str, Lying]] = defaultdict(dict)
        for token in marking.tokens.values():
            self.places[token.place][token.id] = token
        self.busy = {
            each.token.id
            for each in marking.firings.values()
            if each.token and each.kind == "place"
        }
        self.next_id: int = marking.next_id
        self.undo: tuple[Undo, ...] = marking.undo
        self.not_undone: tuple[str, ...] = marking.not_undone
        self.failing = marking.failing
        self.problem = marking.problem
        self.wrap_up: bool = marking.wrap_up
        self.reserve: bool = marking.reserve
        self.cramped = False
        """Whether a transition was kept from firing because there are too many tokens already."""
        self.touched: set[str] = set()
        """The places that steps have changed, since this was last emptied."""

    def frozen(self, *, more: bool) -> Marking:
        """Return it as a value."""
        tokens = {
            name: token.frozen() if type(token) is Live else token
            for name, token in self.tokens.items()
        }
        return Marking(
            tokens=tokens,  # pyright: ignore[reportArgumentType]  all are frozen
            firings=self.firings,
            next_id=self.next_id,
            undo=self.undo,
            not_undone=self.not_undone,
            failing=self.failing,
            problem=self.problem,
            more=more,
            wrap_up=self.wrap_up,
            reserve=self.reserve,
        )

    def apply(self, step: Step) -> None:
        """Apply one step.

        Raises:
            KeyError: it is about a token or firing that is not there.
        """
        match step:
            case Moved():
                self._moved(step)
            case Fired() | TokensSet() | TimedOut():
                self._exchange(step, self._taken(step.taken))
            case ActionBegun() | ActionEnded() | ActionFailed():
                self._acted(step)
            case PlaceAgentBegun():
                self.busy.add(step.token)
                self._begin(step, "place", step.place, self.tokens[step.token], agent=step.agent)
            case UndoBegun():
                self.undo = self.undo[:-1]
                self._begin(step, "undo", step.transition, None)
            case ActionPutOff() | ActionAgain():
                self._again(step)
            case NetFailed():
                self.problem = step.problem
                self._stop(tuple(self.firings))
            case Metered():
                self._metered(step)
            case Rehoused():
                self._rehoused(step.places)

    def _moved(self, step: Moved) -> None:
        self.move(self.tokens[step.token], step.place)
        self.touched.add(step.place)

    def move(self, token: Lying, place: str) -> None:
        """Move a token to a place as it is."""
        name, tokens, places = token.id, self.tokens, self.places
        live = token if type(token) is Live else Live(token)
        del tokens[name], places[live.place][name]
        live.place, live.since, live.runs = place, self.at, EMPTY
        live.moves += 1
        live.hops += 1
        tokens[name] = places[place][name] = live

    def _acted(self, step: ActionBegun | ActionEnded | ActionFailed) -> None:
        if isinstance(step, ActionBegun):
            bases = self._taken(step.taken)
            held = changed(bases.get(step.token.of or step.token.id), step.token, self.at)
            self._begin(step, "action", step.transition, held)
            self._exchange(step, bases)
        elif isinstance(step, ActionFailed) and step.then == "pause":
            firing = self.firings[step.firing]
            self.firings[step.firing] = msgspec.structs.replace(
                firing, problem=step.problem, deadline=None, retry_at=None
            )
        else:
            self._ended(step)

    def _ended(self, step: ActionEnded | ActionFailed) -> None:
        firing = self.firings.pop(step.firing)
        bases: dict[str, Lying] = {}
        if firing.token is not None:
            if firing.kind == "place":
                self.busy.discard(firing.token.id)
                self.touched.add(firing.token.place)
            else:
                bases[firing.token.id] = firing.token
                self._number(firing.token.id)
        self._exchange(step, bases)
        if isinstance(step, ActionFailed):
            if firing.kind == "undo":
                self.not_undone = (*self.not_undone, firing.name)
            elif step.then == "compensate":
                self.failing = step.problem
                self._stop(tuple(self.firings))

    def _exchange(
        self,
        step: Fired | TokensSet | TimedOut | ActionBegun | ActionEnded | ActionFailed,
        bases: dict[str, Lying],
    ) -> None:
        """Put what a step puts, of the tokens that it has taken, and cancel what it cancels."""
        self._taken(step.cancelled)
        self._stop(step.stopped)
        if step.base is not None:
            base = bases.get(step.base.of or step.base.id)
            bases[step.base.id] = changed(base, step.base, self.at)
        for change in step.puts:
            if change.place is None:
                token = changed(self.tokens[change.id], change, self.at)
                self.tokens[change.id] = self.places[token.place][change.id] = token
                self.touched.add(token.place)
            else:
                self._put(changed(bases.get(change.of or change.id), change, self.at))
        if step.undo is not None:
            self.undo = (*self.undo, step.undo)

    def _begin(
        self,
        step: ActionBegun | PlaceAgentBegun | UndoBegun,
        kind: Any,
        name: str,
        token: Lying | None,
        agent: int = 0,
    ) -> None:
        self._number(step.firing)
        self.firings[step.firing] = Firing(
            id=step.firing,
            kind=kind,
            name=name,
            since=self.at,
            token=token.frozen() if isinstance(token, Live) else token,
            agent=agent,
            request=step.request,
            deadline=step.deadline,
        )

    def _again(self, step: ActionPutOff | ActionAgain) -> None:
        firing = self.firings[step.firing]
        if isinstance(step, ActionPutOff):
            new = msgspec.structs.replace(
                firing, problem=step.problem, retry_at=step.retry_at, deadline=None
            )
        else:
            new = msgspec.structs.replace(
                firing,
                request=firing.request if step.request is None else step.request,
                attempt=firing.attempt + 1,
                problem=None,
                retry_at=None,
                deadline=step.deadline,
            )
        self.firings[step.firing] = new

    def _metered(self, step: Metered) -> None:
        self.reserve = step.reserve
        if step.wrap_up and not self.wrap_up:
            self.wrap_up = True
            self._tell_wrap_up()

    def _tell_wrap_up(self) -> None:
        for token in list(self.tokens.values()):
            live = Live(token)
            live.metadata = {**live.metadata, "wrap_up": True}
            self.tokens[live.id] = self.places[live.place][live.id] = live
            self.touched.add(live.place)
        for firing in list(self.firings.values()):
            if firing.token is not None:
                metadata = {**firing.token.metadata, "wrap_up": True}
                token = msgspec.structs.replace(firing.token, metadata=metadata)
                self.firings[firing.id] = msgspec.structs.replace(firing, token=token)

    def _rehoused(self, places: dict[str, str]) -> None:
        for token in list(self.tokens.values()):
            if token.place in places:
                live = Live(token)
                live.place = places[token.place]
                self.tokens[live.id] = live
        self.places.clear()
        for token in self.tokens.values():
            self.places[token.place][token.id] = token

    def _taken(self, names: Iterable[str]) -> dict[str, Lying]:
        return {name: self._without(name) for name in names}

    def _without(self, name: str) -> Lying:
        token = self.tokens.pop(name)
        del self.places[token.place][name]
        self.touched.add(token.place)
        return token

    def _put(self, token: Live) -> None:
        name = token.id
        self.tokens[name] = token
        self.places[token.place][name] = token
        self.touched.add(token.place)
        self._number(name)
        for mark in token.group:
            self._number(mark.group)

    def _stop(self, firings: Iterable[str]) -> None:
        for name in firings:
            firing = self.firings.pop(name)
            if firing.token is not None and firing.kind == "place":
                self.busy.discard(firing.token.id)
                self.touched.add(firing.token.place)

    def _number(self, name: str) -> None:
        number = int(name)
        if number >= self.next_id:
            self.next_id = number + 1


def apply(marking: Marking, event: NetStepped) -> Marking:
    """Return the marking after an event.

    Raises:
        KeyError: the event is not one of this marking.
    """
    scratch = Scratch(marking, event.at)
    for step in event.steps:
        scratch.apply(step)
    return scratch.frozen(more=event.more)

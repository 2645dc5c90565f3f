"""One command's changes to a net, and all that fires by itself after it, as one event. Pure.

What fires is determined by net, marking and time: of the transitions that are enabled that with the
highest priority, then the first of the definition, then the token that has lain longest. Agents of
places begin before any transition takes the token.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actors.workflow.core import timing
from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.enabling import binding, overdue, population, promised
from actors.workflow.core.explaining import not_enabled
from actors.workflow.core.hosting import host
from actors.workflow.core.rules import Guard
from actors.workflow.core.running import Running, runaway
from actors.workflow.core.scratch import Lying, changed
from actors.workflow.core.spreading import oversized
from actors.workflow.core.steps import (
    ActionFailed,
    Metered,
    Moved,
    NetFailed,
    NetStepped,
    Rehoused,
    TokenChange,
    TokensSet,
    UndoBegun,
)
from actors.workflow.core.tokens import MOST_HOPS, Firing, Marking, NetToken
from schemas.problems import Problem

MOST_STEPS = 256
"""After so many steps the event ends; what is left goes on at once in another one."""

_OVER = Problem(code="conflict", message="the net has failed, or is being undone")


class Run(Running):
    """What one command does to a net. Methods return a ``Problem`` where they change nothing.

    A command that goes on where nothing was left to do may look at what it changes alone: not
    ``whole``.
    """

    __slots__ = ("had_more", "more")

    def __init__(
        self, net: CompiledNet, marking: Marking, now: datetime, *, whole: bool = True
    ) -> None:
        super().__init__(net, marking, now)
        self.more = False
        self.had_more = marking.more
        if not whole and not marking.more:
            self.dirty = net.growing

    def event(self) -> NetStepped | None:
        """Return all steps as one event; None if there is nothing to tell."""
        if not self.steps and self.more == self.had_more:
            return None
        return NetStepped(at=self.scratch.at, steps=tuple(self.steps), more=self.more)

    # From outside

    def begin(self, data: dict[str, Any], metadata: dict[str, Any]) -> Problem | None:
        """Put the first token into the initial place."""
        return self.put(self.net.initial, data, metadata)

    def put(self, place: str, data: dict[str, Any], metadata: dict[str, Any]) -> Problem | None:
        """Put a token into a place, if there is room."""
        problem = self._may_put(place)
        if self.scratch.wrap_up:
            metadata = {**metadata, "wrap_up": True}
        name = str(self.scratch.next_id)
        token = NetToken(id=name, place=place, since=self.scratch.at, data=data, metadata=metadata)
        problem = problem or oversized(token)
        if problem is None:
            change = TokenChange(id=name, place=place, data=data, metadata=metadata)
            self.note(TokensSet(puts=(change,)))
        return problem

    def update(
        self,
        token: str,
        data: dict[str, Any] | None = None,
        metadata: dict[str, Any] | None = None,
        sets: dict[str, Any] | None = None,
    ) -> Problem | None:
        """Change a token where it lies: the whole of its data or metadata, and fields by path."""
        lying = self.scratch.tokens.get(token)
        if lying is None:
            return _no_token(token)
        change = TokenChange(id=token, data=data, metadata=metadata, sets=sets or {}, rested=True)
        problem = oversized(changed(lying, change, self.scratch.at))
        if problem is None:
            self.note(TokensSet(puts=(change,)))
        return problem

    def remove(self, token: str) -> Problem | None:
        """Take a token out of the net; an agent of its place that runs for it is stopped."""
        if token not in self.scratch.tokens:
            return _no_token(token)
        stopped = tuple(
            firing.id
            for firing in self.scratch.firings.values()
            if firing.kind == "place" and firing.token and firing.token.id == token
        )
        self.note(TokensSet(cancelled=(token,), stopped=stopped))
        return None

    def fire(self, transition: str, token: str | None = None) -> Problem | None:
        """Let a transition fire, manual or not, with this token if one is named.

        What is not enabled is a conflict; its details tell why, rule by rule.
        """
        found = self.net.by_id.get(transition)
        if found is None:
            told = f"there is no transition {transition}"
            return Problem(code="not_found", message=told, field="transition")
        if token is not None and token not in self.scratch.tokens:
            return _no_token(token)
        if self._is_over:
            return _OVER
        taken = binding(self.net, self.scratch, found, token)
        if taken is None:
            return not_enabled(self.net, self.scratch, found, token)
        self.take(found, taken, rested=True)
        return None

    def retry(self, firing: str) -> Problem | None:
        """Let an action that has failed, or waits for its next attempt, be attempted now."""
        found = self.scratch.firings.get(firing)
        if found is None or found.problem is None:
            return _not_failed(firing)
        self.again(found)
        return None

    def skip(self, firing: str) -> Problem | None:
        """Let the token of an action that has failed go on as if it were not required."""
        found = self.scratch.firings.get(firing)
        if found is None or found.problem is None:
            return _not_failed(firing)
        self.settle(found, found.problem, skips=True)
        return None

    def meter(self, *, wrap_up: bool, reserve: bool) -> None:
        """Say how much of the money is left; it changes what guards see and what may begin."""
        scratch = self.scratch
        if (wrap_up or scratch.wrap_up, reserve) != (scratch.wrap_up, scratch.reserve):
            self.note(Metered(wrap_up=wrap_up or scratch.wrap_up, reserve=reserve))
            self.dirty = self.net.auto

    def stop(self, problem: Problem) -> None:
        """Let the net fail, and all that runs in it stop."""
        if self.scratch.problem is None:
            self.note(NetFailed(problem=problem))

    def migrate(self, places: dict[str, str]) -> Problem | None:
        """Go on under the net of this run, which is another one than that of the marking.

        ``places`` says where the tokens of a place lie in it. Every token needs a place of the new
        net, and every action that runs a transition or agent of it.
        """
        homeless = {
            token.place
            for token in self.scratch.tokens.values()
            if places.get(token.place, token.place) not in self.net.places
        }
        homeless |= {
            firing.name
            for firing in self.scratch.firings.values()
            if not self._keeps(firing, places)
        }
        if homeless:
            told = f"the new net has no place, or nothing that runs, for {min(homeless)}"
            return Problem(code="conflict", message=told, field="places")
        self.note(Rehoused(places=places))
        self.dirty, self.visited = self.net.auto, dict.fromkeys(self.net.hosts)
        return None

    def _keeps(self, firing: Firing, places: dict[str, str]) -> bool:
        """Say whether what runs is also part of the new net."""
        if firing.kind == "action" and firing.name not in self.net.by_id:
            return False
        if firing.kind == "place" and places.get(firing.name, firing.name) != firing.name:
            return False
        return firing.request is None or self.net.action_of(firing) is not None

    # By itself

    def advance(self, most: int = MOST_STEPS) -> None:
        """Let all happen that happens by itself now, up to so many further steps."""
        end = len(self.steps) + most
        if self.scratch.problem is not None:
            return
        timing.overtake(self, end)
        while len(self.steps) < end and not self._is_over:
            host(self, end)
            if self._fire(end) or self._is_over:
                continue
            if len(self.steps) >= end or not self._join_late():
                break
        if self.scratch.failing is not None and self.scratch.problem is None:
            self._compensate()
        self.more = len(self.steps) >= end and self.scratch.problem is None

    @property
    def _is_over(self) -> bool:
        return self.scratch.problem is not None or self.scratch.failing is not None

    def _fire(self, end: int) -> bool:
        """Let transitions fire until none of the dirty ones is enabled, or an agent is to begin.

        Return whether one has fired.
        """
        scratch, steps, net = self.scratch, self.steps, self.net
        places, move, note, ranked = scratch.places, scratch.move, steps.append, net.ranked
        began, dirty = len(steps), self.dirty
        while dirty and len(steps) < end:
            lowest = dirty & -dirty
            transition = ranked[lowest.bit_length() - 1]
            if transition.is_plain:
                # What ``binding`` and ``take`` would do, ten times as fast.
                token = _first(places.get(transition.source), transition.guard)
                if token is None:
                    dirty ^= lowest
                elif token.hops >= MOST_HOPS:
                    self.note(NetFailed(problem=runaway(transition)))
                    break
                else:
                    place = transition.target
                    move(token, place)
                    note(Moved(transition=transition.id, token=token.id, place=place))
                    dirty |= transition.touch
                continue
            found = binding(net, scratch, transition)
            if found is None:
                dirty ^= lowest
                continue
            self.dirty = dirty
            self.take(transition, found)
            dirty = self.dirty
            if self.visited or self._is_over:
                break
        self.dirty = dirty
        return len(steps) > began

    def _join_late(self) -> bool:
        """Let a join go on, or fail, that will not get all it waits for."""
        for transition in self.net.joins:
            found = overdue(self.net, self.scratch, transition) if transition.auto else None
            if found is not None:
                self.take(transition, found)
                return True
        return False

    def _compensate(self) -> None:
        """Undo the latest step that is not undone; when none is left the net fails."""
        scratch = self.scratch
        problem = scratch.failing
        if problem is None or scratch.firings:
            return
        while scratch.undo:
            self._undo_last()
            if scratch.firings:
                return
        if scratch.not_undone:
            details = {**problem.details, "not_undone": [*scratch.not_undone]}
            problem = Problem(
                code=problem.code, message=problem.message, field=problem.field, details=details
            )
        self.note(NetFailed(problem=problem))

    def _undo_last(self) -> None:
        last, name = self.scratch.undo[-1], self.new_id()
        transition = self.net.by_id.get(last.transition)
        compiled = None if transition is None else transition.compensation
        until = None
        if compiled is not None:
            until = timing.deadline_of_undo(compiled.definition, self.scratch.at)
        self.note(
            UndoBegun(transition=last.transition, firing=name, request=last.request, deadline=until)
        )
        if compiled is None:
            gone = Problem(code="not_found", message="the definition has no compensation for it")
            self.note(ActionFailed(firing=name, problem=gone, then="pass"))
        elif compiled.is_instant:
            self.finish(name, {})

    def _may_put(self, place: str) -> Problem | None:
        found = self.net.places.get(place)
        if found is None:
            told = f"there is no place {place}"
            return Problem(code="not_found", message=told, field="place")
        if self._is_over:
            return _OVER
        lying = len(self.scratch.places.get(place, ())) + promised(self.net, self.scratch, place)
        if found.capacity is not None and lying >= found.capacity:
            return Problem(code="conflict", message=f"{place} is full", field="place")
        if population(self.net, self.scratch) >= self.net.definition.most_tokens:
            told = f"the instance has {self.net.definition.most_tokens} tokens already"
            return Problem(code="conflict", message=told)
        return None


def _first(lying: Mapping[str, Lying] | None, guard: Guard | None) -> Lying | None:
    """Return the first token of a place for which a guard holds."""
    if lying:
        for token in lying.values():
            if guard is None or guard(token):
                return token
    return None


def _no_token(token: str) -> Problem:
    return Problem(code="not_found", message=f"there is no token {token} in a place", field="token")


def _not_failed(firing: str) -> Problem:
    return Problem(code="conflict", message=f"no failed action is {firing}", field="firing")

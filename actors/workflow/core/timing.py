"""What happens at a moment: deadlines of actions, retries, timeouts of places, joins, agents."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from actors.workflow.core import failures
from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.enabling import arrivals, deadline_of, has_room, may_pay, promised
from actors.workflow.core.hosting import next_runs
from actors.workflow.core.running import Running
from actors.workflow.core.scratch import Lying, Scratch
from actors.workflow.core.steps import TimedOut, TokenChange
from actors.workflow.core.tokens import Firing, Marking
from schemas.nets import Action, PlaceAgentConfig, TimerAction


def overtake(run: Running, most: int) -> None:
    """Let all happen whose moment has come, but agents of places and joins, up to so many steps.

    While the net is failing only what undoes goes on.
    """
    for firing in list(run.scratch.firings.values()):
        if len(run.steps) >= most or run.scratch.problem is not None:
            return
        if firing.id in run.scratch.firings and (
            run.scratch.failing is None or firing.kind == "undo"
        ):
            _overtake_firing(run, firing)
    if run.scratch.failing or run.scratch.problem:
        return
    for place in run.net.timed:
        for token in list(run.scratch.places.get(place, {}).values()):
            at = timeout_of(run.net, run.scratch, token)
            if len(run.steps) < most and at is not None and at <= run.scratch.at:
                _time_out(run, token)


def _overtake_firing(run: Running, firing: Firing) -> None:
    if firing.retry_at is not None and firing.retry_at <= run.scratch.at:
        run.again(firing)
    elif firing.deadline is not None and firing.deadline <= run.scratch.at:
        action = run.net.action_of(firing)
        if isinstance(action, TimerAction):
            run.finish(firing.id, {"at": firing.deadline.isoformat()})
        else:
            run.fail(firing.id, failures.timed_out(firing, action))


def _time_out(run: Running, token: Lying) -> None:
    timeout = run.net.places[token.place].timeout
    if timeout is not None:
        put = TokenChange(id=token.id, place=timeout.to_place, rested=True)
        run.note(TimedOut(place=token.place, taken=(token.id,), puts=(put,)))


def timeout_of(net: CompiledNet, scratch: Scratch, token: Lying) -> datetime | None:
    """Return when a token has lain too long; None while it is busy or there is no room for it."""
    timeout = net.places[token.place].timeout
    if timeout is None or token.id in scratch.busy:
        return None
    target = net.places.get(timeout.to_place)
    capacity = target.capacity if target is not None else None
    if capacity is not None:
        lying = len(scratch.places.get(timeout.to_place, ()))
        if lying + promised(net, scratch, timeout.to_place) >= capacity:
            return None
    return token.since + timedelta(seconds=timeout.seconds)


def due(net: CompiledNet, marking: Marking) -> datetime | None:
    """Return the next moment at which something happens by itself; None if there is none."""
    if marking.problem is not None:
        return None
    # Nothing in here depends on the time: only what is to come is asked.
    return min(_moments(net, Scratch(marking, datetime.min)), default=None)  # noqa: DTZ901


def _moments(net: CompiledNet, scratch: Scratch) -> Iterator[datetime]:
    for firing in scratch.firings.values():
        if (at := firing.retry_at or firing.deadline) is not None:
            yield at
    if scratch.failing is None:
        yield from _of_places(net, scratch)
        yield from _of_joins(net, scratch)


def _of_places(net: CompiledNet, scratch: Scratch) -> Iterator[datetime]:
    for place in net.timed:
        for token in scratch.places.get(place, {}).values():
            if (at := timeout_of(net, scratch, token)) is not None:
                yield at
    for place in net.hosts:
        for token in scratch.places.get(place, {}).values():
            if token.id not in scratch.busy:
                yield from next_runs(net.places[place], token)


def _of_joins(net: CompiledNet, scratch: Scratch) -> Iterator[datetime]:
    for transition in net.joins:
        join = transition.definition.join
        if join is None or not transition.auto or not may_pay(net, scratch, transition):
            continue
        for here in arrivals(scratch, transition).values() if join.deadline_seconds else ():
            at = deadline_of(join, here)
            if at is not None and has_room(net, scratch, transition, here):
                yield at


def deadline_of_undo(action: Action | PlaceAgentConfig, now: datetime) -> datetime | None:
    """Return until when a compensation may take."""
    found = failures.deadline(action, None, now)
    return found if isinstance(found, datetime) else None

"""Agents of places: when one is to run for a token that lies there, and its beginning."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from actors.workflow.core import failures
from actors.workflow.core.compiling import CompiledAction, CompiledPlace
from actors.workflow.core.running import Running
from actors.workflow.core.scratch import Lying
from actors.workflow.core.steps import PlaceAgentBegun
from schemas.nets import PlaceAgentConfig
from schemas.problems import Problem


def host(run: Running, most: int) -> None:
    """Let agents begin for the tokens in places that have changed, up to so many steps.

    For each token they run one at a time, in the order of the definition.
    """
    while run.visited and len(run.steps) < most:
        place = next(iter(run.visited))
        for token in list(run.scratch.places.get(place, {}).values()):
            if len(run.steps) >= most:
                return
            if run.scratch.tokens.get(token.id) is token:
                _host(run, run.net.places[place], place, token)
        run.visited.pop(place, None)


def _host(run: Running, compiled: CompiledPlace, place: str, token: Lying) -> None:
    if token.id in run.scratch.busy:
        return
    for index, agent in enumerate(compiled.agents):
        at = next_run(compiled, index, token)
        if at is not None and at <= run.scratch.at and compiled.triggers[index](token):
            _begin(run, place, index, agent, token)
            return


def _begin(run: Running, place: str, index: int, agent: CompiledAction, token: Lying) -> None:
    asked, name = agent.request(token), run.new_id()
    until = failures.deadline(agent.definition, token, run.scratch.at)
    run.note(
        PlaceAgentBegun(
            place=place,
            agent=index,
            firing=name,
            token=token.id,
            request=None if isinstance(asked, Problem) else asked,
            deadline=None if isinstance(until, Problem) else until,
        )
    )
    if isinstance(asked, Problem):
        run.settle(run.scratch.firings[name], asked)


def next_run(compiled: CompiledPlace, index: int, token: Lying) -> datetime | None:
    """Return when an agent of a place is to run for a token next; None if it has run enough."""
    config = compiled.agents[index].definition
    runs = token.runs.get(str(index))
    if not isinstance(config, PlaceAgentConfig):
        return None
    if runs is None:
        return token.since + timedelta(seconds=config.schedule.initial_delay_seconds)
    if runs.count >= config.schedule.max_executions:
        return None
    return runs.at + timedelta(seconds=config.schedule.interval_seconds or 0.0)


def next_runs(compiled: CompiledPlace, token: Lying) -> Iterator[datetime]:
    """Yield when agents that are to run for a token, as it is, do so next."""
    for index in range(len(compiled.agents)):
        at = next_run(compiled, index, token)
        if at is not None and compiled.triggers[index](token):
            yield at

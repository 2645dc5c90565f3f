"""What users do to an instance, and what refuses it. Pure."""

from typing import Any, cast

from actors.workflow.core.lookup import compiled
from actors.workflow.core.messages import (
    AnswerPerson,
    CancelRun,
    Decided,
    Fire,
    Migrate,
    Put,
    RunClosed,
    RunMigrated,
    RunSuspended,
    Signal,
    Suspend,
    Update,
)
from actors.workflow.core.patterns import fits
from actors.workflow.core.tokens import Firing
from actors.workflow.core.turning import Turning
from schemas import json_schema
from schemas.json_schema import UnverifiableError
from schemas.nets import EventAction, HumanAction
from schemas.patches import merged
from schemas.problems import Problem
from schemas.steps import at_once

Deed = Fire | Put | Update | Signal | AnswerPerson | CancelRun | Suspend | Migrate | Decided


def by_user(turn: Turning, command: Deed) -> Problem | None:
    """Do what a user wants, if they have seen the newest turn or do not say which."""
    if command.expected is not None and command.expected != turn.state.turn:
        message = f"the instance is at revision {turn.state.turn}"
        return Problem(code="conflict", message=message, field="expected_version")
    match command:
        case Fire():
            return turn.run.fire(command.transition, command.token)
        case Put():
            return turn.run.put(command.place, command.data, command.metadata)
        case Update():
            return _update(turn, command)
        case Signal():
            return _signal(turn, command)
        case AnswerPerson():
            return _answer(turn, command)
        case Migrate():
            return _migrate(turn, command)
        case Decided():
            run, firing = turn.run, command.firing
            return run.skip(firing) if command.skip else run.retry(firing)
        case CancelRun():
            problem = Problem(code="cancelled", message=command.reason)
            turn.add(RunClosed(status="CANCELLED", problem=problem))
        case Suspend():
            if turn.state.suspended is command.over:
                turn.add(RunSuspended(over=command.over))
    return None


def _update(turn: Turning, command: Update) -> Problem | None:
    token = turn.state.marking.tokens.get(command.token)
    data = merged(token.data if token else {}, command.data, variants=False)
    metadata = merged(token.metadata if token else {}, command.metadata, variants=False)
    return turn.run.update(command.token, data, metadata)


def _migrate(turn: Turning, command: Migrate) -> Problem | None:
    """Go on with another net, if all tokens and actions have their place in it."""
    run = turn.under(compiled(command.net, command.net_digest))
    refused = run.migrate(command.places)
    if refused is None:
        version, net = command.version, command.net
        turn.add(RunMigrated(version=version, net=net, net_digest=command.net_digest))
    return refused


def _signal(turn: Turning, command: Signal) -> None:
    """End the actions that wait for such an event."""
    for firing in list(turn.state.marking.firings.values()):
        action = turn.net.action_of(firing)
        if (
            isinstance(action, EventAction)
            and firing.problem is None
            and fits(action.subject, command.subject)
            and _admits(turn, firing, command.event)
        ):
            turn.run.finish(firing.id, {**_data(command.event), "event": command.event})


def _admits(turn: Turning, firing: Firing, event: dict[str, Any]) -> bool:
    transition = turn.net.by_id.get(firing.name)
    condition = transition.event if transition is not None else None
    if condition is None or firing.token is None:
        return condition is None
    return condition.holds(firing.token, event)


def _data(event: dict[str, Any]) -> dict[str, Any]:
    data = event.get("data")
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def _answer(turn: Turning, command: AnswerPerson) -> Problem | None:
    firing = turn.state.marking.firings.get(command.firing)
    action = turn.net.action_of(firing) if firing is not None else None
    if firing is None or firing.problem is not None or not isinstance(action, HumanAction):
        message = f"nobody is asked as {command.firing}"
        return Problem(code="not_found", message=message, field="firing")
    refused = _choice(action, command.choice) or _form(action, command.values)
    if refused is not None:
        return refused
    values, choice = command.values, command.choice
    answer = {**values, "choice": choice, "values": values, "by": command.by}
    return turn.run.finish(firing.id, answer)


def _choice(action: HumanAction, choice: str | None) -> Problem | None:
    if choice in action.choices or (choice is None and not action.choices):
        return None
    wanted = ", ".join(action.choices) or "none"
    message = f"the choices are: {wanted}"
    return Problem(code="validation", message=message, field="choice")


def _form(action: HumanAction, values: dict[str, Any]) -> Problem | None:
    if action.form is None:
        return None
    try:
        fault = at_once(json_schema.fault(action.form, values))
    except UnverifiableError as error:
        return Problem(code="validation", message=str(error), field="values")
    if fault is None:
        return None
    field = ".".join(part for part in ("values", fault.path) if part)
    return Problem(code="validation", message=fault.message, field=field)

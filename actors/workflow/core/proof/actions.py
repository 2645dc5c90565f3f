"""Whether what transitions and agents of places do is written soundly: fields of actions. Pure."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Any

from actors.workflow.core.calendar import CalendarError, next_time, zone_of
from actors.workflow.core.paths import target
from actors.workflow.core.proof.expressions import check_expression
from actors.workflow.core.proof.findings import NetFindings
from schemas.ids import END
from schemas.nets import (
    Action,
    AgentTransitionConfig,
    CronTrigger,
    EventAction,
    EventTrigger,
    HttpAction,
    HumanAction,
    NetDefinition,
    PlaceAgentConfig,
    TimerAction,
    ToolAction,
    TransformAction,
    TransitionDefinition,
)
from schemas.schema_faults import schema_fault
from schemas.steps import Steps

AGENT_ANSWER = frozenset(
    ("text", "output", "agent_id", "execution_id", "timestamp", "tokens_used", "cost")
)
TOOL_ANSWER = AGENT_ANSWER - {"agent_id"}
HTTP_ANSWER = frozenset(("status", "body"))

CRON_FIELDS = 5

_ANY_TIME = "* * * * *"

_SINCE = datetime(2026, 1, 1, tzinfo=UTC)
_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_PATH = re.compile(r"\s*[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+){0,15}\s*" + END)


def check_actions(net: NetDefinition, found: NetFindings) -> Steps[None]:
    """Find what is wrong in actions, agents of places, triggers, schemas, expressions and paths."""
    for number, place in enumerate(net.places):
        path = f"net.places.{number}"
        yield from _schema(place.data_schema, f"{path}.data_schema", found)
        for which, agent in enumerate(place.agents):
            yield from _agent(agent, f"{path}.agents.{which}", net, found)
    for number, transition in enumerate(net.transitions):
        yield
        yield from _transition(transition, f"net.transitions.{number}", net, found)
    for number, trigger in enumerate(net.triggers):
        _trigger(trigger, f"net.triggers.{number}", found)


def _transition(
    transition: TransitionDefinition, path: str, net: NetDefinition, found: NetFindings
) -> Steps[None]:
    for number, text in enumerate(transition.conditions):
        check_expression(text, f"{path}.conditions.{number}", found)
    if transition.fork is not None:
        _targets([transition.fork.into], f"{path}.fork.into", found)
    if transition.join is not None:
        _targets([transition.join.into], f"{path}.join.into", found)
    if transition.action is not None and transition.agent_execution is not None:
        message = "it has an action already: give one of the two"
        found.error("two_actions", f"{path}.agent_execution", message)
    for name in ("action", "agent_execution", "compensation"):
        action: Action | None = getattr(transition, name)
        if action is not None:
            yield from _action(action, f"{path}.{name}", net, found)


def _action(action: Action, path: str, net: NetDefinition, found: NetFindings) -> Steps[None]:
    _targets(action.output_mapping, f"{path}.output_mapping", found)
    match action:
        case AgentTransitionConfig():
            yield from _agent(action, path, net, found)
        case ToolAction():
            _answer(action.output_mapping, TOOL_ANSWER, path, found)
        case HttpAction():
            _answer(action.output_mapping, HTTP_ANSWER, path, found)
        case TimerAction():
            _timer(action, path, found)
        case HumanAction():
            yield from _human(action, path, found)
        case EventAction():
            if action.condition is not None:
                check_expression(action.condition, f"{path}.condition", found, event=True)
        case TransformAction():
            _transform(action, path, found)
        case _:
            return


def _agent(
    agent: AgentTransitionConfig | PlaceAgentConfig,
    path: str,
    net: NetDefinition,
    found: NetFindings,
) -> Steps[None]:
    if net.agents and not any(fnmatchcase(agent.agent_id, one) for one in net.agents):
        message = f"the workflow may not run {agent.agent_id}: name it in net.agents"
        found.error("agent_not_allowed", f"{path}.agent_id", message)
    is_text = agent.task_is == "text"
    if not is_text:
        check_expression(agent.task, f"{path}.task", found)
    for inside in _TEMPLATE.findall(agent.task) if is_text else ():
        if not _PATH.match(inside):
            message = "between {{ and }} stands a path, such as data.title"
            found.error("bad_template", f"{path}.task", message)
    _targets(agent.output_mapping, f"{path}.output_mapping", found)
    _answer(agent.output_mapping, AGENT_ANSWER, path, found)
    yield from _schema(agent.answer_schema, f"{path}.answer_schema", found)


def _targets(targets: Iterable[str], path: str, found: NetFindings) -> None:
    for name in targets:
        if target(name) is None:
            message = f"{name} cannot be written: begin with data. or metadata."
            found.error("bad_target", path, message)


def _answer(
    mapping: Mapping[str, str], known: frozenset[str], path: str, found: NetFindings
) -> None:
    for source in mapping.values():
        if source.partition(".")[0] not in known:
            message = f"the answer has no {source}; it has {', '.join(sorted(known))}"
            found.error("unknown_answer", f"{path}.output_mapping", message)


def _timer(action: TimerAction, path: str, found: NetFindings) -> None:
    if sum(one is not None for one in (action.seconds, action.until, action.cron)) != 1:
        found.error("timer_choice", path, "give one of seconds, until and cron")
    _cron(action.cron or _ANY_TIME, action.zone, path, found)


def _human(action: HumanAction, path: str, found: NetFindings) -> Steps[None]:
    if action.escalate_to and action.timeout_seconds is None:
        message = "say after how long it goes to the next"
        found.error("no_deadline", f"{path}.timeout_seconds", message)
    yield from _schema(action.form, f"{path}.form", found)


def _transform(action: TransformAction, path: str, found: NetFindings) -> None:
    _targets(action.values, f"{path}.values", found)
    _targets(action.expressions, f"{path}.expressions", found)
    _targets(action.remove, f"{path}.remove", found)
    for name, text in action.expressions.items():
        check_expression(text, f"{path}.expressions.{name}", found)


def _trigger(trigger: EventTrigger | CronTrigger, path: str, found: NetFindings) -> None:
    _targets(trigger.data, f"{path}.data", found)
    match trigger:
        case CronTrigger():
            _cron(trigger.cron, trigger.zone, path, found)
        case EventTrigger():
            for name, text in (("condition", trigger.condition), ("key", trigger.key)):
                if text is not None:
                    check_expression(text, f"{path}.{name}", found, event=True)


def _cron(text: str, zone: str, path: str, found: NetFindings) -> None:
    """Find what is wrong with a time of the clock: its zone, or else its fields."""
    try:
        zone_of(zone)
    except CalendarError as error:
        found.error("bad_zone", f"{path}.zone", error.reason)
        return
    if len(text.split()) != CRON_FIELDS:
        message = "five fields: minute, hour, day of the month, month, day of the week"
        found.error("bad_cron", f"{path}.cron", message)
        return
    try:
        next_time(text, zone, _SINCE)
    except CalendarError as error:
        found.error("bad_cron", f"{path}.cron", error.reason)


def _schema(schema: dict[str, Any] | None, path: str, found: NetFindings) -> Steps[None]:
    if schema is None:
        return
    fault = yield from schema_fault(schema, own=False)
    if fault is not None:
        place = f"{path}.{fault.path}".removesuffix(".")
        found.error("bad_schema", place, fault.message)

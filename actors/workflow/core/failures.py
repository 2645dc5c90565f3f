"""When an action is given up or attempted again, and until when an attempt may take. Pure."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.workflow.core.calendar import CalendarError, next_time, zone_of
from actors.workflow.core.paths import Readable, reader
from actors.workflow.core.tokens import Firing
from schemas.http_actions import is_once
from schemas.nets import (
    Action,
    AgentRetryConfig,
    EventAction,
    HttpAction,
    HumanAction,
    PlaceAgentConfig,
    TimerAction,
)
from schemas.problems import Problem

LONGEST_BACKOFF = 86_400.0

HTTP_SECONDS = 60.0
"""What a request may take that says nothing of it."""

RESTING = TimerAction | HumanAction | EventAction
"""What waits for a time, a person or an event."""

_NAMES = {"timeout": "timeout", "rate_limit": "rate_limited"}


def retry_at(
    action: Action | PlaceAgentConfig | None, firing: Firing, problem: Problem, now: datetime
) -> datetime | None:
    """Return when a failed attempt is made again; None if it is given up."""
    config = action.retry_config if action is not None else None
    if config is None or firing.attempt >= config.max_attempts or firing.request is None:
        return None
    if not _is_repeated(config, problem):
        return None
    return now + timedelta(seconds=_wait(config, firing.attempt, problem))


def _is_repeated(config: AgentRetryConfig, problem: Problem) -> bool:
    if not config.retry_on_errors:
        if problem.code == "outcome_unknown":
            return False
        return problem.retryable
    return problem.code in {_NAMES.get(each, each) for each in config.retry_on_errors}


def _wait(config: AgentRetryConfig, failures: int, problem: Problem) -> float:
    factor = {"fixed": 1, "linear": failures, "exponential": 2 ** min(failures - 1, 32)}
    wait = config.backoff_seconds * factor[config.backoff]
    return min(max(wait, problem.retry_after or 0.0), LONGEST_BACKOFF)


def is_escalated(action: Action | PlaceAgentConfig | None, firing: Firing) -> bool:
    """Say whether a task that nobody has done in time goes to the next person."""
    return isinstance(action, HumanAction) and firing.attempt <= len(action.escalate_to)


def deadline(
    action: Action | PlaceAgentConfig, token: Readable | None, now: datetime
) -> datetime | Problem | None:
    """Return until when an attempt that begins now may take, or when a timer ends."""
    if isinstance(action, TimerAction) and token is not None:
        return _moment(action, token, now)
    seconds = action.timeout_seconds
    if seconds is None and isinstance(action, HttpAction):
        seconds = HTTP_SECONDS
    return None if seconds is None else now + timedelta(seconds=seconds)


def timed_out(firing: Firing, action: Action | PlaceAgentConfig | None) -> Problem:
    """Return the problem of what has not ended by its deadline."""
    if isinstance(action, HttpAction) and is_once(action.method):
        told = f"{firing.name} was not answered in time: it may have had its effect, or not"
        return Problem(code="outcome_unknown", message=told)
    return Problem(code="timeout", message=f"{firing.name} has not ended in time", retryable=True)


def told(problem: Problem) -> dict[str, Any]:
    """Return a problem as a token has it in its data."""
    return msgspec.to_builtins(problem)


def _moment(action: TimerAction, token: Readable, now: datetime) -> datetime | Problem:
    try:
        if action.cron is not None:
            return next_time(action.cron, action.zone, now)
        if action.until is not None:
            return _until(reader(action.until)(token), action)
    except CalendarError as error:
        return Problem(code="validation", message=error.reason)
    return now + timedelta(seconds=action.seconds or 0.0)


def _until(value: object, action: TimerAction) -> datetime | Problem:
    try:
        moment = msgspec.convert(value, datetime, strict=False)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=zone_of(action.zone))
        return moment.astimezone(UTC)
    except (msgspec.ValidationError, OverflowError, ValueError):
        return Problem(code="validation", message=f"{action.until} is no moment in time")

"""What an event from outside does: which triggers it fits, and what each of them starts. Pure.

An instance that an event has started has an id that tells how long the chain of causes is that led
to it: what it causes has that id in its own. So a trigger that causes itself comes to an end.
"""

import re
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Any, NamedTuple, cast

from actors.workflow.core.conditions import Condition
from actors.workflow.core.cron_trigger import chained, token_of
from actors.workflow.core.paths import MISSING, walk
from actors.workflow.core.patterns import fits
from actors.workflow.core.tokens import NetToken
from schemas.ids import TOKEN_PATTERN
from schemas.nets import EventAction, EventTrigger, NetDefinition
from schemas.problems import Problem

OWN_FAILURES = "events.workflow.trigger_failed.>"
"""What triggers nothing: that a trigger has failed."""

_CHAINED = re.compile(r"t([0-9]{1,3})-[0-9a-f]{26}")
_TOKEN = re.compile(TOKEN_PATTERN)
_NAMES = ("subject", "id", "time", "data")


class OutsideEvent(NamedTuple):
    """An event, on a subject below its tenant's own. ``causes`` tell of its cause."""

    tenant: str
    subject: str
    id: str
    time: datetime
    data: Any
    causes: tuple[str, ...] = ()

    @property
    def shown(self) -> dict[str, Any]:
        """What expressions see of it, as ``event``."""
        return {
            "subject": self.subject,
            "id": self.id,
            "time": self.time.isoformat(),
            "data": self.data,
        }

    @property
    def depth(self) -> int:
        """How many triggers had fired, one because of another, before it."""
        found = (_CHAINED.search(name) for name in (self.subject, *self.causes))
        return max((int(match[1]) + 1 for match in found if match), default=0)


class TriggerAct(NamedTuple):
    """What a trigger does for an event: to the instance ``instance_id``, with the token."""

    workflow_id: str
    trigger: EventTrigger
    instance_id: str
    token: dict[str, Any]


class NetListening(NamedTuple):
    """What one version of a definition listens to."""

    triggers: tuple[EventTrigger, ...]
    waits: frozenset[str]

    @property
    def is_empty(self) -> bool:
        """Whether it listens to nothing."""
        return not (self.triggers or self.waits)


def listening_of(net: NetDefinition) -> NetListening:
    """Return what instances are started by, or wait for."""
    actions = (each for one in net.transitions for each in (one.action, one.compensation))
    return NetListening(
        triggers=tuple(each for each in net.triggers if isinstance(each, EventTrigger)),
        waits=frozenset(each.subject for each in actions if isinstance(each, EventAction)),
    )


def event_id(subject: str, payload: bytes, time: datetime) -> str:
    """Name an event that has no id: the same content within the same second is the same."""
    second = str(int(time.timestamp())).encode()
    return sha256(b"\0".join((subject.encode(), payload, second))).hexdigest()[:32]


def waits_for(patterns: Iterable[str], event: OutsideEvent) -> bool:
    """Say whether instances may wait for an event, by the patterns of their nets."""
    return any(fits(pattern, event.subject) for pattern in patterns)


def act_of(
    workflow_id: str, trigger: EventTrigger, event: OutsideEvent
) -> TriggerAct | Problem | None:
    """Return what a trigger does for an event; None where it is not for it."""
    if not fits(trigger.subject, event.subject):
        return None
    nothing = NetToken(id="", place="", since=event.time)
    if trigger.condition is not None:
        held = condition(trigger.condition).value(nothing, event.shown)
        if held is not True:
            return held if isinstance(held, Problem) else None
    key = _key(trigger, event, nothing)
    if isinstance(key, Problem):
        return key
    instance_id = key or chained(event.depth, workflow_id, trigger.id, event.id)
    return TriggerAct(workflow_id, trigger, instance_id, _token(trigger, event))


@lru_cache(maxsize=4096)
def condition(source: str) -> Condition:
    """Return a compiled expression."""
    return Condition(source)


def _key(trigger: EventTrigger, event: OutsideEvent, nothing: NetToken) -> str | Problem | None:
    """Return the instance that a trigger names; None where it names none."""
    if trigger.key is None:
        return None
    value = condition(trigger.key).value(nothing, event.shown)
    if isinstance(value, Problem):
        return value
    name = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if _TOKEN.match(name) is None:
        message = f"{trigger.key}: it gives no id of an instance"
        return Problem(code="validation", message=message, field="key")
    return name


def _token(trigger: EventTrigger, event: OutsideEvent) -> dict[str, Any]:
    """Return data and metadata of the token; without a mapping they are those of the event."""
    told = {"metadata.event_id": event.id, "metadata.event_subject": event.subject}
    if not trigger.data:
        data = event.data
        fields = cast("dict[str, Any]", data) if isinstance(data, dict) else {"event": data}
        return token_of(told) | {"data": fields}
    return token_of(told | {path: _read(source, event) for path, source in trigger.data.items()})


def _read(path: str, event: OutsideEvent) -> Any:
    """Return what a path names: ``event.data.x``, ``data.x``, or ``x`` for what is in its data."""
    steps = path.split(".")
    steps = steps[1:] if steps[0] == "event" else steps
    steps = steps if not steps or steps[0] in _NAMES else ["data", *steps]
    found = walk(event.shown, steps)
    return None if found is MISSING else found

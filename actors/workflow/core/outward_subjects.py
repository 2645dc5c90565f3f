"""Which subjects of a tenant are a workflow's own to publish on, and to listen to. Pure.

A subject in a definition is relative to ``cb.<tenant>``. Its first part decides: there the contract
has its requests, streams and records, and nobody else publishes there. Below ``events`` facts of
one's own are stored like those of the contract; only its nouns are taken.
"""

from functools import cache

from schemas import catalog
from schemas.base import RESERVED
from schemas.problems import Problem

STORED = ("events", "record")
"""Facts that streams keep: each reaches a trigger at least once."""

_COMING = frozenset(
    {"identity", "tenants", "members", "keys", "audit", "tasks", "queues", "teams", "memory"}
    | {"gateway", "monitor", "dashboard", "projector"}
)
"""Domains of actors that are to come: what is published there now would be a request then."""


def publish_fault(subject: str, field: str) -> Problem | None:
    """Return why a workflow must not publish on a subject; None if it may."""
    first, _, rest = subject.partition(".")
    noun = rest.partition(".")[0]
    if first == "events" and noun and noun not in _nouns():
        return None
    if first in RESERVED or first in _domains():
        whose = f"{first}.{noun}" if first == "events" and noun else first
        message = f"{whose} belongs to the contract: publish on a subject of your own"
        return Problem(code="validation", message=message, field=field)
    return None


def pattern_fault(pattern: str, field: str) -> Problem | None:
    """Return why a trigger must not listen to a pattern; None if it may.

    A listener to requests would look like somebody who answers them.
    """
    first = pattern.partition(".")[0]
    if first in STORED:
        return None
    if first == "*":
        message = "a pattern names the first part of its subjects, such as events or crm"
        return Problem(code="validation", message=message, field=field)
    return publish_fault(pattern, field)


def is_stored(pattern: str) -> bool:
    """Say whether streams keep what a pattern catches."""
    return pattern.partition(".")[0] in STORED


@cache
def _nouns() -> frozenset[str]:
    """Return of what the contract tells facts."""
    return frozenset(row.subject.split(".")[3] for row in catalog.events()) | _COMING


@cache
def _domains() -> frozenset[str]:
    names = (row.subject.split(".")[2] for row in catalog.requests())
    return frozenset(names) | _COMING

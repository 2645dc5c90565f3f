"""Which subjects of a tenant are a workflow's own to publish on, and to listen to. Pure.

A subject in a definition is relative to ``cb.<tenant>``. Its first part decides: there the contract
has its requests, streams, events and records, and nobody else publishes there.
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
    first = subject.partition(".")[0]
    if first in RESERVED or first in _domains():
        message = f"{first} belongs to the contract: publish on a subject of your own"
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
def _domains() -> frozenset[str]:
    names = (row.subject.split(".")[2] for row in catalog.requests())
    return frozenset(names) | _COMING

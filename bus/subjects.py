"""Subjects: filled from templates, parsed by templates, matched against filters. Pure.

A template names its variable tokens in braces: ``cb.{tenant}.stream.{execution_id}``.
"""

import re
import zlib
from functools import cache
from hashlib import sha256

from bus.errors import problem
from schemas.base import ASK, PUBLIC, SUBMIT, Request
from schemas.ids import PLATFORM, TOKEN_PATTERN

_INTERNAL = "_cb."
_TOKEN = re.compile(TOKEN_PATTERN)
_VARIABLE = re.compile(r"\{(\w+)\}")


def is_token(value: str) -> bool:
    """Say whether ``value`` can stand in a subject as a name that a user gives."""
    return _TOKEN.match(value) is not None


def token(value: str, field: str) -> str:
    """Return ``value`` if it can stand in a subject.

    Raises:
        ProblemError: ``validation``; no dot, space, wildcard or control character gets through.
    """
    if not is_token(value):
        raise problem(
            "validation", "must be 1 to 64 letters, digits, hyphens or underscores", field=field
        )
    return value


def fill(template: str, **tokens: str) -> str:
    """Build the subject of a template. Each token is checked as by ``token``.

    As a tenant the platform is taken too.
    """
    return template.format(**{name: _checked(value, name) for name, value in tokens.items()})


def _checked(value: str, name: str) -> str:
    return value if (name, value) == ("tenant", PLATFORM) else token(value, name)


@cache
def _pattern(template: str) -> re.Pattern[str]:
    quoted = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^.]+)", re.escape(template))
    return re.compile(quoted + r"\Z")


def parse(template: str, subject: str) -> dict[str, str] | None:
    """Return the tokens of a subject, or None if it is not one of the template."""
    match = _pattern(template).match(subject)
    return match.groupdict() if match else None


def filter_for(template: str, **tokens: str) -> str:
    """Return the filter that catches all subjects of a template with the given tokens fixed."""
    fixed = {name: token(value, name) for name, value in tokens.items()}
    return _VARIABLE.sub(lambda match: fixed.get(match[1], "*"), template)


def matches(pattern: str, subject: str) -> bool:
    """Say whether a filter (``*`` one token, ``>`` the rest) catches a subject or another filter.

    A wildcard in ``subject`` is caught only by a wildcard that is at least as wide.
    """
    wanted, given = pattern.split("."), subject.split(".")
    for place, want in enumerate(wanted):
        if want == ">":
            return len(given) > place
        if place >= len(given) or given[place] == ">" or want not in ("*", given[place]):
            return False
    return len(wanted) == len(given)


def overlap(one: str, other: str) -> bool:
    """Say whether some subject is caught by both filters."""
    left, right = one.split("."), other.split(".")
    for a, b in zip(left, right, strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(left) == len(right)


def shard_of(tenant: str, key: str, shards: int) -> int:
    """Return the shard of an entity: CRC-32 of its address, modulo the number of shards."""
    return zlib.crc32(f"{tenant}/{key}".encode()) % shards


def mailbox_subject(entity: str, shard: int) -> str:
    """Where the owner of a shard takes commands."""
    return f"_cb.cmd.{entity}.{shard}"


def journal_subject(entity: str, shard: int) -> str:
    """Where the commits of a shard are stored."""
    return f"_cb.journal.{entity}.{shard}"


def shard_name(subject: str) -> str:
    """Return the entity and number of the shard whose commits are stored at ``subject``."""
    return subject.removeprefix("_cb.journal.")


def journal_filter(entity: str) -> str:
    """Return the filter that catches the commits of all shards."""
    return f"_cb.journal.{entity}.*"


def state_subject(entity: str, shard: int, tenant: str, key: str) -> str:
    """Where the state of an entity at rest is stored."""
    return f"_cb.state.{entity}.{shard}.{tenant}.{key}"


def states_filter(entity: str, shard: int) -> str:
    """Return the filter that catches the states of a shard, but not their further pages."""
    return f"_cb.state.{entity}.{shard}.*.*"


def ended_subject(entity: str, shard: int, tenant: str, key: str) -> str:
    """Where the state at rest of an entity is stored that has ended."""
    return f"_cb.ended.{entity}.{shard}.{tenant}.{key}"


def ended_filter(entity: str, shard: int) -> str:
    """Return the filter that catches the states of what has ended, but not their further pages."""
    return f"_cb.ended.{entity}.{shard}.*.*"


def owner_subject(entity: str, shard: int) -> str:
    """Where each new owner of a shard shows itself, to fence the states that others write."""
    return f"_cb.owner.{entity}.{shard}"


def archived_subject(entity: str, shard: int, incarnation: str) -> str:
    """Return where the archive tells what it holds of a shard, for one incarnation of a journal."""
    return f"_cb.archive.{entity}.{shard}.{sha256(incarnation.encode()).hexdigest()[:16]}"


def offer_subject(worker: str) -> str:
    """Where a worker is offered items. Nobody listens there once it has gone."""
    return f"_cb.sys.offer.{worker}"


def demand_subject(queue: str) -> str:
    """Where the workers of a queue hear for whom items wait."""
    return f"_cb.sys.demand.{queue}"


def grant_subject(registry: str) -> str:
    """Where a registry of workers hears which places are kept for what waits there."""
    return f"_cb.sys.grant.{registry}"


def request_subject(request: type[Request], tenant: str) -> str:
    """Where a tenant asks: ``cb.<tenant>.<domain>.<verb>``."""
    return fill(PUBLIC + request.SUBJECT, tenant=tenant)


def ask_subject(request: type[Request], tenant: str) -> str:
    """Where a member of the fleet asks on somebody's behalf: ``_cb.ask.<tenant>.…``."""
    return fill(ASK + request.SUBJECT, tenant=tenant)


def submit_subject(request: type[Request], tenant: str) -> str:
    """Where a command is stored, to be carried out unanswered: ``cb.<tenant>.submit.…``."""
    return fill(SUBMIT + request.SUBJECT, tenant=tenant)


def is_ask(subject: str) -> bool:
    """Say whether a request's subject is one of those on which only the fleet may ask."""
    return subject.startswith(_INTERNAL)


def tenant_of(subject: str) -> str:
    """Return the tenant of a request's subject, whether it is a public or an internal one."""
    return subject.split(".", 3)[2 if is_ask(subject) else 1]

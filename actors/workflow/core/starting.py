"""What an instance begins with. Pure."""

from hashlib import sha256
from typing import Any

import msgspec

from actors.workflow.core.messages import BeginRun, RunOrigin
from actors.workflow.core.state import WorkflowInstance
from schemas.base import Request
from schemas.beginnings import Beginner
from schemas.identity import KeptPrincipal, Principal, admin
from schemas.workflow_runs import StartWorkflow

_MOST_TEXT = 256
_MOST_LISTED = 16


def digest_of(wanted: Request) -> str:
    """Return what tells a repeat of a request from another one under the same id."""
    return sha256(msgspec.json.encode(wanted, order="deterministic")).hexdigest()[:32]


def origin_of(
    wanted: StartWorkflow,
    instance: str,
    *,
    by: Principal,
    trace: str | None,
    began_by: Beginner | None,
    worst: dict[str, int],
) -> RunOrigin:
    """Return who starts what."""
    return RunOrigin(
        tenant=by.tenant,
        instance_id=instance,
        workflow_id=wanted.workflow_id,
        digest=digest_of(msgspec.structs.replace(wanted, id=None)),
        by=None if by == admin(by.tenant) else KeptPrincipal.of(by),
        user=wanted.user,
        labels=wanted.labels,
        metadata=listed(wanted.metadata),
        trace=trace,
        depth=began_by.depth if began_by is not None else 0,
        reply_to=began_by.reply_to if began_by is not None else None,
        worst=worst,
    )


def listed(metadata: dict[str, Any]) -> dict[str, str]:
    """Return the fields of metadata by which an instance is found: short texts and numbers."""
    found: dict[str, str] = {}
    for name, value in metadata.items():
        text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
        is_plain = isinstance(value, str | int | float | bool) and name[:1] != ":"
        if is_plain and len(text) <= _MOST_TEXT and len(found) < _MOST_LISTED:
            found[name] = text
    return found


def forked(
    state: WorkflowInstance, instance: str, digest: str, by: Principal, trace: str | None
) -> BeginRun:
    """Return the beginning of an instance with the marking of another one."""
    origin = msgspec.structs.replace(
        state.origin,
        instance_id=instance,
        digest=digest,
        by=None if by == admin(by.tenant) else KeptPrincipal.of(by),
        trace=trace,
        reply_to=None,
        forked_from=state.origin.instance_id,
    )
    return BeginRun(
        origin=origin,
        version=state.version,
        net=state.net,
        net_digest=state.net_digest,
        marking=state.marking,
    )

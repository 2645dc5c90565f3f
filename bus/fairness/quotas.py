"""What each tenant may use: the operator's terms for all, and his own for some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bus import files
from bus.codec import convert
from bus.config import Config, Terms
from bus.errors import ConfigError, ProblemError
from schemas.fleet import QuotaUse
from schemas.ids import Token
from schemas.problems import Problem

FILE_SETTING = "CALLBOARD_QUOTAS_FILE"

<<<<<<< HEAD
Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant may use. The defaults are those of the settings, where each has its reason.

    ``requests`` and ``request_bytes`` are those under way in one process, ``executions`` those open
    in the whole fleet, ``record_bytes`` those of the records of executions that ended within an
    hour. ``stream_bytes``, ``event_bytes`` and ``dead_bytes`` are what one process leaves of a
    tenant in a crowded stream of live events, of events or of dead letters: the tenant's oldest go,
    nothing is refused. The others are stored: agents, versions of one agent, and bytes of all
    versions. ``retention_days`` is how long executions and turns of conversations are.
    """

    requests: int
    request_bytes: int
    agents: int
    versions: int
    definition_bytes: int
    executions: int
    record_bytes: int
    stream_bytes: int
    event_bytes: int
    dead_bytes: int
    retention_days: float = 90.0


class _Own(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator's file says of one tenant; what is absent is as for all."""

    requests: Count | None = None
    request_bytes: Count | None = None
    agents: Count | None = None
    versions: Annotated[int, msgspec.Meta(ge=2, le=2**53)] | None = None
    definition_bytes: Count | None = None
    executions: Count | None = None
    record_bytes: Count | None = None
    stream_bytes: Count | None = None
    event_bytes: Count | None = None
    dead_bytes: Count | None = None
    retention_days: Annotated[float, msgspec.Meta(gt=0, le=90)] | None = None

=======
>>>>>>> main

class Quotas:
    """The terms of every tenant."""

    def __init__(self, usual: Terms, own: Mapping[str, Terms] | None = None) -> None:
        self._usual = usual
        self._own = dict(own or {})

    @classmethod
    def load(cls, config: Config) -> "Quotas":
        """Return the terms of the settings, and over them those of CALLBOARD_QUOTAS_FILE.

        The file is YAML or JSON: ``{tenant: {agents: 20, executions: 100}}``.

        Raises:
            ConfigError: the file cannot be read or says something else.
        """
        usual, path = config.quota, config.quotas_file
        return cls(usual, _read(Path(path), usual) if path else {})

    def of(self, tenant: str) -> Terms:
        """Return the terms of a tenant."""
        return self._own.get(tenant, self._usual)

    def use(self, tenant: str, quota: str, used: int) -> QuotaUse:
        """Return how much of a quota, named as the field of the terms, a tenant uses."""
        allowed: int = getattr(self.of(tenant), quota)
        return QuotaUse(tenant=tenant, quota=quota, used=used, allowed=allowed)


<<<<<<< HEAD
def usual_terms(config: Config) -> Terms:
    """Return the terms of tenants of whom the operator's file says nothing."""
    return Terms(
        requests=config.quota_requests,
        request_bytes=config.quota_request_bytes,
        agents=config.quota_agents,
        versions=config.quota_versions,
        definition_bytes=config.quota_definition_bytes,
        executions=config.quota_executions,
        record_bytes=config.quota_record_bytes,
        stream_bytes=config.quota_stream_bytes,
        event_bytes=config.quota_event_bytes,
        dead_bytes=config.quota_dead_bytes,
        retention_days=config.retention_days,
    )


=======
>>>>>>> main
def exceeded(quota: str, used: int, allowed: int, what: str) -> Problem:
    """Return the refusal of what would exceed a quota. ``what`` names it: "agents"."""
    return Problem(
        code="rate_limited",
        message=f"the tenant would have {used} {what}, {allowed} are allowed",
        field=quota,
        details={"quota": quota, "used": used, "allowed": allowed},
    )


def _read(path: Path, usual: Terms) -> dict[str, Terms]:
    """Return the terms of the tenants that the file names; what it leaves out is as for all."""
    common = msgspec.structs.asdict(usual)
    try:
        said = files.of(path, dict[Token, dict[str, Any]])
        return convert(dict[Token, Terms], {name: common | own for name, own in said.items()})
    except ProblemError as error:
        raise ConfigError(FILE_SETTING, error.said()) from None

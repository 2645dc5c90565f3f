"""What each tenant may use: the operator's terms for all, and his own for some."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bus import files
from bus.codec import convert
from bus.config import Config, QuotaTerms
from bus.errors import ConfigError, ProblemError
from schemas.fleet import QuotaUse
from schemas.ids import Token
from schemas.problems import Problem

FILE_SETTING = "CALLBOARD_QUOTAS_FILE"


class Quotas:
    """The terms of every tenant."""

    def __init__(self, usual: QuotaTerms, own: Mapping[str, QuotaTerms] | None = None) -> None:
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

    def of(self, tenant: str) -> QuotaTerms:
        """Return the terms of a tenant."""
        return self._own.get(tenant, self._usual)

    def use(self, tenant: str, quota: str, used: int) -> QuotaUse:
        """Return how much of a quota, named as the field of the terms, a tenant uses."""
        allowed: int = getattr(self.of(tenant), quota)
        return QuotaUse(tenant=tenant, quota=quota, used=used, allowed=allowed)


def exceeded(quota: str, used: int, allowed: int, what: str) -> Problem:
    """Return the refusal of what would exceed a quota. ``what`` names it: "agents"."""
    return Problem(
        code="rate_limited",
        message=f"the tenant would have {used} {what}, {allowed} are allowed",
        field=quota,
        details={"quota": quota, "used": used, "allowed": allowed},
    )


def _read(path: Path, usual: QuotaTerms) -> dict[str, QuotaTerms]:
    """Return the terms of the tenants that the file names; what it leaves out is as for all."""
    common = msgspec.structs.asdict(usual)
    try:
        said = files.of(path, dict[Token, dict[str, Any]])
        return convert(dict[Token, QuotaTerms], {name: common | own for name, own in said.items()})
    except ProblemError as error:
        raise ConfigError(FILE_SETTING, error.said()) from None

"""Named secrets: a definition names one, the operator says whom it may serve.

A key is looked up in the environment of the process that sends it, at the moment of sending, and
goes only to the hosts its entry lists (``bus.security.hosts``), over TLS or to this machine. It is
never stored, logged or put into an error.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bus import files
from bus.errors import ConfigError, ProblemError, problem
from bus.security.hosts import HostEntry, entry_of, target_of
from schemas.ids import END, Token

FIELD = "secret"
"""What a refusal names, unless the caller knows how its user wrote the name."""
HOW = "`callboard config secrets` shows how one is given"
FILE_SETTING = "CALLBOARD_SECRETS_FILE"

Tenant = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*|[A-Za-z0-9_-]{1,64})" + END,
        description="the name of a tenant, or * for every one",
    ),
]


class SecretEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says of one secret."""

    env: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^[A-Za-z_][A-Za-z0-9_]*" + END,
            description="the name of an environment variable, such as MY_KEY",
        ),
    ]
    """The environment variable that holds it."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """The hosts it may be sent to: ``api.example.com``, with a port or path, ``*.example.com``.

    A ``*`` elsewhere stands for a part of one label: ``api.*.example.com``. See
    ``bus.security.hosts``.
    """

    tenants: tuple[Tenant, ...] = ("*",)
    """The tenants it may serve; ``*`` is every one."""

    payer: Literal["operator", "tenant"] = "operator"
    """Who pays for what it buys: a tenant's own key is kept here too, and is the tenant's spend."""


class Secrets:
    """The operator's map of secrets. Its repr shows names and no values."""

    def __init__(self, entries: Mapping[str, SecretEntry], environ: Mapping[str, str]) -> None:
        self._entries = dict(entries)
        self._places = {name: _places(name, entry) for name, entry in entries.items()}
        self._environ = environ

    @classmethod
    def load(
        cls, usual: Mapping[str, SecretEntry], file: str | None, environ: Mapping[str, str]
    ) -> "Secrets":
        """Build the map: the usual entries, and over them the file CALLBOARD_SECRETS_FILE names.

        The file is YAML or JSON: ``{name: {env: VARIABLE, hosts: [...], tenants: [...]}}``, with
        ``payer: tenant`` where the key is a tenant's own.

        Raises:
            ConfigError: the file cannot be read or says something else.
        """
        return cls(dict(usual) | (_read(Path(file)) if file else {}), environ)

    def resolve(self, name: str, url: str, tenant: str, *, field: str = FIELD) -> str:
        """Return the secret for a request of this tenant to this URL.

        Raises:
            ProblemError: ``unauthorized`` if there is no such secret for the tenant or the process
                has no value for it; ``forbidden`` if it must not go to that place.
        """
        entry = self.demand(name, tenant, field=field)
        _demand_place(self._places[name], url, field)
        return self._value(entry, name, field)

    def demand(self, name: str, tenant: str, *, field: str = FIELD) -> SecretEntry:
        """Return what is said of a secret that may serve a tenant.

        Raises:
            ProblemError: ``unauthorized``: there is none.
        """
        entry = self._entries.get(name)
        if entry is None or not ({"*", tenant} & set(entry.tenants)):
            # One answer for both, or a tenant could learn the names of another's secrets.
            raise problem(
                "unauthorized", f"There is no secret named {name} here: {HOW}", field=field
            )
        return entry

    def is_operators(self, name: str) -> bool:
        """Whether the operator pays for what a secret buys."""
        entry = self._entries.get(name)
        return entry is not None and entry.payer == "operator"

    def holds(self, name: str, tenant: str) -> bool:
        """Whether there is a value for a secret that may serve the tenant."""
        entry = self._entries.get(name)
        allowed = entry is not None and {"*", tenant} & set(entry.tenants)
        return bool(entry and allowed and self._environ.get(entry.env, "").strip())

    def names(self) -> list[str]:
        """Return the names of the secrets that have a value here."""
        return [n for n, e in sorted(self._entries.items()) if self._environ.get(e.env, "").strip()]

    def _value(self, entry: SecretEntry, name: str, field: str) -> str:
        value = self._environ.get(entry.env, "").strip()
        if not value:
            raise problem(
                "unauthorized", f"The secret {name} is not set: {entry.env} is empty.", field=field
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise problem("unauthorized", f"The secret {name} is no key: {entry.env}.", field=field)
        return value

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._entries))})"


def _places(name: str, entry: SecretEntry) -> tuple[HostEntry, ...]:
    places = [entry_of(host) for host in entry.hosts]
    if None in places:
        wrong = entry.hosts[places.index(None)]
        raise ConfigError(FILE_SETTING, f"{name}: {wrong!r} is no host that a secret can go to")
    return tuple(place for place in places if place is not None)


def _demand_place(places: tuple[HostEntry, ...], url: str, field: str) -> None:
    target = target_of(url)
    if target is not None and target.scheme != "https" and not target.is_here:
        raise _misplaced("A secret is only sent over https, or to this machine.", field)
    if target is None or not any(place.matches(target) for place in places):
        raise _misplaced("This secret must not be sent to that host.", field)


def _misplaced(reason: str, field: str) -> ProblemError:
    return problem("forbidden", reason, field=field)


def _read(path: Path) -> dict[str, SecretEntry]:
    try:
        return files.of(path, dict[Token, SecretEntry])
    except ProblemError as error:
        raise ConfigError(FILE_SETTING, error.said()) from None

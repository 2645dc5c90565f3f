"""Named secrets: a definition names one, the operator says whom it may serve.

A key is looked up in the environment of the process that sends it, at the moment of sending, and
goes only to the hosts its entry lists (``bus.hosts``), over TLS or to this machine. It is never
stored, logged or put into an error.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from bus import files
from bus.errors import ConfigError, ProblemError, problem
from bus.hosts import Entry, entry_of, target_of
from schemas.ids import END, Token

FIELD = "provider.secret"
FILE_SETTING = "CALLBOARD_SECRETS_FILE"

_WELL_KNOWN = (
    ("openai", "OPENAI_API_KEY", "OPENAI_BASE_URL", "https://api.openai.com"),
    ("anthropic", "ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
    ("groq", "GROQ_API_KEY", "GROQ_BASE_URL", "https://api.groq.com"),
    ("google", "GOOGLE_API_KEY", "", "https://generativelanguage.googleapis.com"),
    ("ollama", "OLLAMA_API_KEY", "", "https://ollama.com"),
)
"""Name, variable of the key, variable of the address, and the address unless that is set."""

_VERTEX_PLACES = (
    "aiplatform.googleapis.com",
    "*-aiplatform.googleapis.com",
    "aiplatform.us.rep.googleapis.com",
    "aiplatform.eu.rep.googleapis.com",
)
_VERTEX_HOSTS = tuple(f"{host}/{path}" for host in _VERTEX_PLACES for path in ("v1", "v1beta1"))
"""A token of Google's is good for all its services, and so goes to this one alone."""

_BEDROCK_HOSTS = ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.*.amazonaws.com.cn")
"""Anybody can have a host in AWS's domain, but none of that name."""

_CLOUDS = (
    ("vertex", "GOOGLE_APPLICATION_CREDENTIALS", _VERTEX_HOSTS),
    ("bedrock", "AWS_BEARER_TOKEN_BEDROCK", _BEDROCK_HOSTS),
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID", _BEDROCK_HOSTS),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", _BEDROCK_HOSTS),
    ("aws_session_token", "AWS_SESSION_TOKEN", _BEDROCK_HOSTS),
)
"""Name, variable and hosts of the secrets for clouds, whose hosts differ by region."""

Tenant = Annotated[str, msgspec.Meta(pattern=r"^(\*|[A-Za-z0-9_-]{1,64})" + END)]


class SecretEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says of one secret."""

    env: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*" + END)]
    """The environment variable that holds it."""

    hosts: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """The hosts it may be sent to: ``api.example.com``, with a port or path, ``*.example.com``.

    A ``*`` elsewhere stands for a part of one label: ``api.*.example.com``. See ``bus.hosts``.
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
    def load(cls, environ: Mapping[str, str] = os.environ) -> "Secrets":
        """Build the map: the well-known providers, and over them the file CALLBOARD_SECRETS_FILE.

        The file is YAML or JSON: ``{name: {env: VARIABLE, hosts: [...], tenants: [...]}}``, with
        ``payer: tenant`` where the key is a tenant's own.

        Raises:
            ConfigError: the file cannot be read or says something else.
        """
        entries = _built_in(environ)
        if environ.get(FILE_SETTING):
            entries |= _read(Path(environ[FILE_SETTING]))
        return cls(entries, environ)

    def resolve(self, name: str, url: str, tenant: str, *, field: str = FIELD) -> str:
        """Return the secret for a request of this tenant to this URL.

        Raises:
            ProblemError: ``unauthorized`` if there is no such secret for the tenant or the process
            has
                no value for it; ``forbidden`` if it must not go to that place.
        """
        entry = self._entries.get(name)
        if entry is None or not ({"*", tenant} & set(entry.tenants)):
            # One answer for both, or a tenant could learn the names of another's secrets.
            raise problem("unauthorized", f"There is no secret named {name} here.", field=field)
        _demand_place(self._places[name], url, field)
        return self._value(entry, name, field)

    def is_operators(self, name: str) -> bool:
        """Whether the operator pays for what a secret buys."""
        entry = self._entries.get(name)
        return entry is not None and entry.payer == "operator"

    def holds(self, name: str, tenant: str) -> bool:
        """Whether there is a value for a secret that may serve the tenant."""
        entry = self._entries.get(name)
        allowed = entry is not None and {"*", tenant} & set(entry.tenants)
        return bool(entry and allowed and self._environ.get(entry.env, "").strip())

    def _value(self, entry: SecretEntry, name: str, field: str) -> str:
        value = self._environ.get(entry.env, "").strip()
        if not value:
            raise problem(
                "unauthorized", f"The secret {name} is not set: {entry.env}.", field=field
            )
        if not value.isascii() or not value.isprintable() or " " in value:
            raise problem("unauthorized", f"The secret {name} is no key: {entry.env}.", field=field)
        return value

    def __repr__(self) -> str:
        return f"Secrets({', '.join(sorted(self._entries))})"


def usual_hosts(environ: Mapping[str, str] = os.environ) -> frozenset[str]:
    """Return the hosts to which a definition's request takes a secret that it does not name."""
    usual = {_host(environ.get(address) or host) for _, _, address, host in _WELL_KNOWN}
    azure = environ.get("AZURE_OPENAI_ENDPOINT")
    return frozenset(usual | ({_host(azure)} if azure else set()))


def _places(name: str, entry: SecretEntry) -> tuple[Entry, ...]:
    places = [entry_of(host) for host in entry.hosts]
    if None in places:
        wrong = entry.hosts[places.index(None)]
        raise ConfigError(FILE_SETTING, f"{name}: {wrong!r} is no host that a secret can go to")
    return tuple(place for place in places if place is not None)


def _demand_place(places: tuple[Entry, ...], url: str, field: str) -> None:
    target = target_of(url)
    if target is not None and target.scheme != "https" and not target.is_here:
        raise _misplaced("A secret is only sent over https, or to this machine.", field)
    if target is None or not any(place.matches(target) for place in places):
        raise _misplaced("This secret must not be sent to that host.", field)


def _misplaced(reason: str, field: str) -> ProblemError:
    return problem("forbidden", reason, field=field)


def _built_in(environ: Mapping[str, str]) -> dict[str, SecretEntry]:
    """Return the entries of the well-known providers, each for its own host.

    Anybody can have a resource at Azure, so its key goes to the operator's alone.
    """
    entries = {
        name: SecretEntry(env=key, hosts=(_host(environ.get(address) or usual),))
        for name, key, address, usual in _WELL_KNOWN
    }
    for name, key, hosts in _CLOUDS:
        entries[name] = SecretEntry(env=key, hosts=hosts)
    if azure := environ.get("AZURE_OPENAI_ENDPOINT"):
        entries["azure"] = SecretEntry(env="AZURE_OPENAI_API_KEY", hosts=(_host(azure),))
    return entries


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]


def _read(path: Path) -> dict[str, SecretEntry]:
    try:
        return files.of(path, dict[Token, SecretEntry])
    except ProblemError as error:
        raise ConfigError(FILE_SETTING, error.said()) from None

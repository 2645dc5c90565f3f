"""Named secrets: a definition names one, the operator says whom it may serve.

A key is looked up in the environment of the process that sends it, at the moment of sending, and
goes only to the hosts its entry lists, over TLS or to this machine. It is never stored, logged or
put into an error.
"""

import os
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

import msgspec

from bus import files
from bus.errors import ConfigError, ProblemError, problem
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

_GOOGLE_HOSTS = ("*.googleapis.com",)
_BEDROCK_HOSTS = ("bedrock-runtime.*.amazonaws.com", "bedrock-runtime.*.amazonaws.com.cn")
"""Anybody can have a host in AWS's domain, but none of that name."""

_CLOUDS = (
    ("vertex", "GOOGLE_APPLICATION_CREDENTIALS", _GOOGLE_HOSTS),
    ("bedrock", "AWS_BEARER_TOKEN_BEDROCK", _BEDROCK_HOSTS),
    ("aws_access_key_id", "AWS_ACCESS_KEY_ID", _BEDROCK_HOSTS),
    ("aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", _BEDROCK_HOSTS),
    ("aws_session_token", "AWS_SESSION_TOKEN", _BEDROCK_HOSTS),
)
"""Name, variable and hosts of the secrets for clouds, whose hosts differ by region."""

Tenant = Annotated[str, msgspec.Meta(pattern=r"^(\*|[A-Za-z0-9_-]{1,64})" + END)]
Host = Annotated[str, msgspec.Meta(pattern=r"^(\*\.)?[^\s/@*]+(\.\*\.[^\s/@*]+)?" + END)]


class SecretEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the operator says of one secret."""

    env: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*" + END)]
    """The environment variable that holds it."""

    hosts: Annotated[tuple[Host, ...], msgspec.Meta(min_length=1)]
    """The hosts it may be sent to: ``api.example.com``, with a port, or ``*.example.com``.

    A ``*`` between dots stands for one name: ``api.*.example.com``.
    """

    tenants: tuple[Tenant, ...] = ("*",)
    """The tenants it may serve; ``*`` is every one."""


class Secrets:
    """The operator's map of secrets. Its repr shows names and no values."""

    def __init__(self, entries: Mapping[str, SecretEntry], environ: Mapping[str, str]) -> None:
        self._entries = dict(entries)
        self._environ = environ

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ) -> "Secrets":
        """Build the map: the well-known providers, and over them the file CALLBOARD_SECRETS_FILE.

        The file is YAML or JSON: ``{name: {env: VARIABLE, hosts: [...], tenants: [...]}}``.

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
        _demand_place(entry, urlsplit(url), field)
        return self._value(entry, name, field)

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


def _demand_place(entry: SecretEntry, url: SplitResult, field: str) -> None:
    host = (url.hostname or "").rstrip(".")
    if url.scheme != "https" and not _is_here(host):
        raise _misplaced("A secret is only sent over https, or to this machine.", field)
    if not any(_matches(pattern.lower(), host, url.port) for pattern in entry.hosts):
        raise _misplaced("This secret must not be sent to that host.", field)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _misplaced(reason: str, field: str) -> ProblemError:
    return problem("forbidden", reason, field=field)


def _matches(pattern: str, host: str, port: int | None) -> bool:
    if pattern.startswith("*."):
        return host.endswith(pattern[1:])
    if ".*." in pattern:
        before, _, after = pattern.partition(".*.")
        one = host.removeprefix(f"{before}.").removesuffix(f".{after}")
        return host == f"{before}.{one}.{after}" and "." not in one
    return pattern in {host, f"[{host}]", f"{host}:{port}", f"[{host}]:{port}"}


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

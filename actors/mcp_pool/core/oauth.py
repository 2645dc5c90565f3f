"""OAuth of MCP servers: challenges and metadata, and which scopes are asked for. Pure.

Protocol: "Authorization" of MCP 2025-11-25 and 2026-07-28; RFC 9728 (metadata of a protected
resource), RFC 8414 and OpenID Connect Discovery (metadata of an authorization server), RFC 6750
(challenges). No message holds what a peer has sent, except names of errors.
"""

import re
from collections.abc import Iterable, Sequence
from ipaddress import ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from schemas.base import Value

MAX_CHALLENGE = 8192
"""Characters of a ``WWW-Authenticate`` that are read."""

MAX_SCOPES = 100
OFFLINE = "offline_access"
"""The scope for which OpenID Connect gives refresh tokens (SEP-2207)."""

_SCHEME = re.compile(r"(?:^|,)\s*bearer(?=[\s,]|\Z)", re.IGNORECASE)
_PARAMETER = re.compile(
    r"\s*,?\s*([A-Za-z0-9!#$%&'*+.^_`|~-]{1,64})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|([^\s,\"]+))"
)
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}\Z")
_URL = re.compile(r"[\x21-\x7e]{1,2048}\Z")
_PORTS = {"https": 443, "http": 80}


class OauthError(Exception):
    """A token cannot be had. ``transient``: trying later may help."""

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class BearerChallenge(NamedTuple):
    """What a server demands of a token: its ``WWW-Authenticate`` for the scheme Bearer."""

    scopes: tuple[str, ...] = ()
    metadata: str = ""
    error: str = ""

    @property
    def wants_more(self) -> bool:
        """Whether the token is good, but not for this request (step-up)."""
        return self.error == "insufficient_scope"


class ResourceMetadata(Value):
    """What a server says of itself (RFC 9728)."""

    resource: str = ""
    authorization_servers: list[str] = []
    scopes_supported: list[str] = []


class IssuerMetadata(Value):
    """What an authorization server says of itself (RFC 8414)."""

    issuer: str = ""
    authorization_endpoint: str = ""
    token_endpoint: str = ""
    registration_endpoint: str = ""
    scopes_supported: list[str] = []
    code_challenge_methods_supported: list[str] = []
    token_endpoint_auth_methods_supported: list[str] | None = None
    client_id_metadata_document_supported: bool = False
    authorization_response_iss_parameter_supported: bool = False


class Discovered(NamedTuple):
    """Who gives tokens for a server; they are asked for with its ``resource``, as published."""

    resource: str
    scopes: tuple[str, ...]
    issuer: IssuerMetadata


def bearer_challenge(header: str) -> BearerChallenge:
    """Read a ``WWW-Authenticate``; what is malformed says nothing."""
    header = header[:MAX_CHALLENGE]
    scheme = _SCHEME.search(header)
    found: dict[str, str] = {}
    place = scheme.end() if scheme else len(header)
    while (match := _PARAMETER.match(header, place)) is not None:
        quoted, plain = match[2], match[3]
        found.setdefault(
            match[1].lower(), plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        )
        place = match.end()
    return BearerChallenge(
        scopes_of(found.get("scope", "")),
        found.get("resource_metadata", ""),
        found.get("error", ""),
    )


def scopes_of(text: str) -> tuple[str, ...]:
    """Return the scopes of a text in their order, each once; what is none is left out."""
    found = (each for each in text.split(" ") if _SCOPE.match(each))
    return tuple(dict.fromkeys(found))[:MAX_SCOPES]


# Where metadata is


def resource_urls(server: str, named: str) -> list[str]:
    """Return where the metadata of a server may be, the likeliest first.

    One that the server has ``named`` is the only one.
    """
    if named:
        return [named]
    parts = _split(server)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    root = f"{origin}/.well-known/oauth-protected-resource"
    return list(dict.fromkeys((f"{root}{path}", root)))


def issuer_urls(issuer: str) -> list[str]:
    """Return where the metadata of an authorization server may be, in the order of MCP."""
    parts = _split(issuer)
    origin, path = f"{parts.scheme}://{parts.netloc}", parts.path.rstrip("/")
    inserted = [
        f"{origin}/.well-known/{name}{path}"
        for name in ("oauth-authorization-server", "openid-configuration")
    ]
    return [*inserted, f"{origin}{path}/.well-known/openid-configuration"] if path else inserted


def endpoint(url: str) -> str:
    """Return the URL of an endpoint that tokens and secrets may go to.

    Raises:
        OauthError: it is none, or neither https nor on this machine.
    """
    parts = _split(url)
    if parts.scheme != "https" and not _is_here(parts.hostname or ""):
        raise OauthError("An endpoint of the authorization server is not reached over https.")
    return url


def origin_of(url: str) -> str:
    """Return a server's origin, which is its issuer where it publishes none (2025-03-26)."""
    parts = _split(url)
    return f"{parts.scheme}://{parts.netloc}"


# What metadata must say


def checked_resource(found: ResourceMetadata, server: str) -> ResourceMetadata:
    """Return the metadata of a server if it is about that server.

    Raises:
        OauthError: it is about another one, whose tokens would be asked for.
    """
    if not _covers(found.resource, server):
        raise OauthError("The server's metadata is about another resource.")
    return found


def chosen_issuer(found: ResourceMetadata, wanted: str | None) -> str:
    """Return the authorization server to go to: the one that is ``wanted``, else the first.

    Raises:
        OauthError: the server names none, or others than the wanted one.
    """
    named = found.authorization_servers
    if wanted is not None and wanted not in named:
        raise OauthError("The server does not name the authorization server that is demanded.")
    if not named:
        raise OauthError("The server names no authorization server.")
    return wanted or named[0]


def checked_issuer(found: IssuerMetadata, issuer: str) -> IssuerMetadata:
    """Return the metadata of an authorization server if it is that server's.

    Raises:
        OauthError: it is another one's, compared as text (RFC 8414 §3.3), or has no token endpoint.
    """
    if found.issuer != issuer:
        raise OauthError("The metadata of the authorization server names another issuer.")
    endpoint(found.token_endpoint)
    return found


# Scopes


def scopes_wanted(
    configured: str,
    challenge: BearerChallenge,
    found: Discovered,
    granted: Iterable[str] = (),
    *,
    refreshes: bool,
) -> tuple[str, ...]:
    """Return the scopes to ask for: those of the terms, of the challenge, or all of the server.

    What was granted before is kept where more is demanded (SEP-2350). ``refreshes``: a refresh
    token is wanted, which some give for a scope of its own.
    """
    base = scopes_of(configured) or challenge.scopes or found.scopes
    if challenge.wants_more:
        base = (*granted, *base, *challenge.scopes)
    if refreshes and OFFLINE in found.issuer.scopes_supported:
        base = (*base, OFFLINE)
    return tuple(dict.fromkeys(base))[:MAX_SCOPES]


def auth_method(offered: Sequence[str] | None, *, secret: bool, registered: str = "") -> str:
    """Return how a client shows its identity at the token endpoint.

    Raises:
        OauthError: in none of the ways that we know.
    """
    ours = ("client_secret_basic", "client_secret_post", "none") if secret else ("none",)
    if registered in ours:
        return registered
    if offered is None:
        # RFC 8414: basic is what holds where nothing is said.
        return ours[0]
    found = next((each for each in ours if each in offered), None)
    if found is None:
        raise OauthError("The authorization server wants clients to sign in as we cannot.")
    return found


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid, parts = False, urlsplit("")
    if not valid or parts.scheme not in _PORTS or not _URL.match(url) or "@" in parts.netloc:
        raise OauthError("A URL in the metadata is none that can be called.")
    return parts


def _covers(resource: str, server: str) -> bool:
    """Whether a resource identifier is a server's URL, or a path above it."""
    ours, theirs = _split(server), _split(resource)
    if _place(ours) != _place(theirs) or theirs.query:
        return False
    path, above = ours.path.rstrip("/"), theirs.path.rstrip("/")
    return path == above or path.startswith(f"{above}/")


def _place(parts: SplitResult) -> tuple[str, str, int]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS[parts.scheme]


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

"""OAuth of MCP servers: requests for tokens, what comes back, and for how long it holds. Pure.

Protocol: OAuth 2.1 with PKCE (RFC 7636, S256), RFC 8707 (``resource``), RFC 9207 (``iss``), RFC
7591 (registration of clients).
"""

import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote_plus, urlencode, urlsplit

import msgspec

from actors.mcp_pool.core.oauth import Discovered, IssuerMetadata, OauthError, auth_method, endpoint
from actors.mcp_pool.core.oauth import scopes_of as _scopes
from schemas.base import Value

STALE_SECONDS = 30.0
"""So long before its end a token is used no more."""

MAX_CALLBACK = 8192
"""Characters of what a browser brings back."""

METHOD = "S256"
FORM = "application/x-www-form-urlencoded"

_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}\Z")
_NAME = re.compile(r"[a-z_]{1,64}\Z")


class _Hidden(Value):
    """Holds secrets: its repr tells none."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class OauthClient(_Hidden, omit_defaults=True):
    """Who we are to an authorization server. ``method`` is how that is shown."""

    id: str
    secret: str = ""
    method: str = "none"


class TokenAnswer(_Hidden):
    """What a token endpoint answers (RFC 6749 §5)."""

    access_token: str = ""
    token_type: str = ""
    expires_in: float | None = None
    refresh_token: str = ""
    scope: str = ""
    error: str = ""


class RegisteredClient(_Hidden):
    """What a registration endpoint answers (RFC 7591)."""

    client_id: str = ""
    client_secret: str = ""
    token_endpoint_auth_method: str = ""


class OauthGrant(_Hidden, omit_defaults=True):
    """Tokens for one server, and what they are refreshed with.

    They hold for one issuer and go to its token endpoint alone. ``expires_at`` is in seconds since
    1970, None where it was not said. The ``client`` has no secret where an operator's map has it.
    """

    resource: str
    issuer: str
    token_endpoint: str
    client: OauthClient
    access_token: str
    refresh_token: str = ""
    expires_at: float | None = None
    scopes: list[str] = []

    def is_stale(self, now: float) -> bool:
        """Whether the token has ended, or soon will."""
        return self.expires_at is not None and now >= self.expires_at - STALE_SECONDS


# Authorization by a person


class LoginRequest(NamedTuple):
    """One attempt to log in. ``verifier`` and ``state`` are secret until it has ended."""

    client: OauthClient
    redirect: str
    verifier: str
    state: str
    scopes: tuple[str, ...]


def challenge_of(verifier: str) -> str:
    """Return the challenge of a verifier by S256 (RFC 7636 §4.2)."""
    return urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def authorization_url(found: Discovered, login: LoginRequest) -> str:
    """Return where a person goes to log in.

    Raises:
        OauthError: there is no such place, or the server does not know PKCE.
    """
    issuer = found.issuer
    if METHOD not in issuer.code_challenge_methods_supported:
        raise OauthError("The authorization server does not say that it knows PKCE.")
    url = endpoint(issuer.authorization_endpoint)
    query = {
        "response_type": "code",
        "client_id": login.client.id,
        "redirect_uri": login.redirect,
        "code_challenge": challenge_of(login.verifier),
        "code_challenge_method": METHOD,
        "state": login.state,
        "resource": found.resource,
        **_scope(login.scopes),
    }
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"


def callback_code(query: str, state: str, issuer: IssuerMetadata) -> str:
    """Return the code that a browser has brought back.

    Raises:
        OauthError: it is for another attempt, from another issuer, or says that there is none.
    """
    try:
        given = parse_qsl(query[:MAX_CALLBACK], keep_blank_values=True, max_num_fields=32)
    except ValueError:
        given = []
    found = dict(given)
    if len(found) != len(given) or found.get("state") != state:
        raise OauthError("What came back does not belong to this attempt to log in.")
    told = found.get("iss")
    if told is None and issuer.authorization_response_iss_parameter_supported:
        raise OauthError("The authorization server did not say who it is, as it had promised.")
    if told is not None and told != issuer.issuer:
        raise OauthError("The answer comes from another authorization server.")
    if "code" not in found:
        raise OauthError(f"The authorization server refuses: {_named(found.get('error', ''))}.")
    return found["code"]


def registration(redirect: str, method: str) -> dict[str, Any]:
    """Return what a client is registered with."""
    return {
        "client_name": "Callboard",
        "application_type": "native",
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": method,
    }


def registered_client(found: RegisteredClient, issuer: IssuerMetadata) -> OauthClient:
    """Return the client that was registered.

    Raises:
        OauthError: there is none, or it cannot show who it is.
    """
    if not _TOKEN.match(found.client_id):
        raise OauthError("The authorization server does not register clients.")
    method = auth_method(
        issuer.token_endpoint_auth_methods_supported,
        secret=bool(found.client_secret),
        registered=found.token_endpoint_auth_method,
    )
    return OauthClient(id=found.client_id, secret=found.client_secret, method=method)


# Requests for tokens


class TokenRequest(NamedTuple):
    """What is posted to a token endpoint."""

    headers: dict[str, str]
    body: bytes


def by_code(code: str, login: LoginRequest) -> dict[str, str]:
    """Return the form that changes a code into tokens."""
    return {
        "grant_type": "authorization_code",
        "code": code,
        "redirect_uri": login.redirect,
        "code_verifier": login.verifier,
    }


def by_refresh(grant: OauthGrant) -> dict[str, str]:
    """Return the form that changes a refresh token into new ones."""
    return {"grant_type": "refresh_token", "refresh_token": grant.refresh_token}


def by_credentials(scopes: tuple[str, ...]) -> dict[str, str]:
    """Return the form that gives a client a token of its own."""
    return {"grant_type": "client_credentials", **_scope(scopes)}


def token_request(form: Mapping[str, str], resource: str, client: OauthClient) -> TokenRequest:
    """Return a request for tokens, in which the client shows who it is (RFC 6749 §2.3.1)."""
    fields = {**form, "resource": resource}
    headers = {"content-type": FORM, "accept": "application/json"}
    if client.method == "client_secret_basic":
        pair = f"{quote_plus(client.id)}:{quote_plus(client.secret)}"
        headers["authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        fields["client_id"] = client.id
    if client.method == "client_secret_post":
        fields["client_secret"] = client.secret
    return TokenRequest(headers, urlencode(fields).encode())


class TokenRefusedError(OauthError):
    """The token endpoint refuses. ``ends_grant``: what was shown to it holds no more."""

    def __init__(self, error: str) -> None:
        super().__init__(f"The authorization server gives no token: {_named(error)}.")
        self.ends_grant = error in {"invalid_grant", "invalid_client", "unauthorized_client"}


def granted(answer: TokenAnswer, before: OauthGrant, now: float) -> OauthGrant:
    """Return a grant with what a token endpoint has answered.

    Without a new refresh token, and without scopes, those of ``before`` hold on.

    Raises:
        OauthError: the answer brings no token that can be sent.
    """
    if answer.error or not answer.access_token:
        raise TokenRefusedError(answer.error)
    if answer.token_type.lower() != "bearer" or not _TOKEN.match(answer.access_token):
        raise OauthError("The authorization server gives a token of another kind than Bearer.")
    seconds = answer.expires_in
    return msgspec.structs.replace(
        before,
        access_token=answer.access_token,
        refresh_token=answer.refresh_token or before.refresh_token,
        expires_at=None if seconds is None else now + max(0.0, seconds),
        scopes=list(_scopes(answer.scope)) or before.scopes,
    )


def _scope(scopes: tuple[str, ...]) -> dict[str, str]:
    return {"scope": " ".join(scopes)} if scopes else {}


def _named(error: str) -> str:
    """Return the name of an error; a server's other words are told to nobody."""
    return error if _NAME.match(error) else "for no reason that OAuth knows"

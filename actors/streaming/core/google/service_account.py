"""Google service accounts: what is signed to get an access token, and what the token is.

Source: "Using OAuth 2.0 for Server to Server Applications" (Google Identity), which is the JWT
bearer grant of RFC 7523 with RS256 signatures. The signing itself is the caller's.
"""

import binascii
from base64 import b64decode, urlsafe_b64encode
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple
from urllib.parse import urlencode

import msgspec

from schemas import bounds
from schemas.ids import END

SCOPE = "https://www.googleapis.com/auth/cloud-platform"
TOKEN_URI = "https://oauth2.googleapis.com/token"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"

LIFETIME = timedelta(hours=1)
"""How long a token is asked for; Google grants no more."""

MARGIN = timedelta(minutes=5)
"""So long before its end a token is not used any more: a request may take its time to arrive."""


class ServiceAccount(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """A service account's key file, as far as it is needed. Its repr shows no key."""

    client_email: str
    private_key: str
    private_key_id: str = ""
    token_uri: Annotated[str, msgspec.Meta(pattern=r"^https?://")] = TOKEN_URI

    def __repr__(self) -> str:
        return "ServiceAccount(...)"


class AccessToken(NamedTuple):
    """A bearer token, and the moment from which on it is not to be used."""

    text: str
    good_until: datetime

    def __repr__(self) -> str:
        return "AccessToken(...)"


class _Granted(msgspec.Struct, frozen=True):
    """A token endpoint's answer."""

    access_token: Annotated[str, msgspec.Meta(pattern=r"^[\x21-\x7e]+" + END, max_length=16_384)]
    expires_in: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = int(LIFETIME.total_seconds())


_accounts = bounds.Decoder(ServiceAccount)
_grants = bounds.Decoder(_Granted)


def read_account(key_file: bytes) -> ServiceAccount | None:
    """Read a key file; None if it is none."""
    try:
        return _accounts.decode(key_file)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def unpacked(secret: str) -> bytes | None:
    """Return the JSON that a secret is the base64 of; None if it is none."""
    try:
        decoded = b64decode(secret, validate=True)
    except binascii.Error:
        return None
    return decoded if decoded.lstrip().startswith(b"{") else None


def signing_input(account: ServiceAccount, now: datetime) -> bytes:
    """Return the bytes to be signed: who asks for what, until when."""
    header = {"alg": "RS256", "typ": "JWT", "kid": account.private_key_id}
    issued = int(now.timestamp())
    claims = {
        "iss": account.client_email,
        "scope": SCOPE,
        "aud": account.token_uri,
        "iat": issued,
        "exp": issued + int(LIFETIME.total_seconds()),
    }
    return b".".join(_base64url(msgspec.json.encode(part)) for part in (header, claims))


def grant_request(signed: bytes, signature: bytes) -> bytes:
    """Return the form that is posted to the token endpoint."""
    assertion = b".".join((signed, _base64url(signature)))
    return urlencode({"grant_type": GRANT, "assertion": assertion.decode()}).encode()


def granted(answer: bytes, now: datetime) -> AccessToken | None:
    """Read the token endpoint's answer; None if it is no token."""
    try:
        grant = _grants.decode(answer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return AccessToken(grant.access_token, now + timedelta(seconds=grant.expires_in) - MARGIN)


def _base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")

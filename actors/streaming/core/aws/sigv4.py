"""AWS Signature Version 4: the headers that prove who sends a request.

Source: "Create a signed AWS API request" in the IAM user guide, for services other than S3. That
difference counts: the path, which is percent-encoded already, is encoded once more for the
signature, so that a colon in a model's id is ``%3A`` on the wire and ``%253A`` in what is signed.
"""

import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import NamedTuple
from urllib.parse import SplitResult, quote, urlsplit

ALGORITHM = "AWS4-HMAC-SHA256"

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Credentials(NamedTuple):
    """The keys of an AWS principal; temporary ones come with a session token. Its repr shows none.

    The keys are ASCII.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(...)"


class CredentialScope(NamedTuple):
    """What a signature is good for."""

    region: str
    service: str


class Signable(NamedTuple):
    """A request as it goes over the wire. All of ``headers`` are signed, and only those.

    ``host`` need not be among them; what a proxy may change should not be.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


def sign(
    request: Signable, credentials: Credentials, scope: CredentialScope, now: datetime
) -> dict[str, str]:
    """Return the headers to be added to the request. ``now`` must be aware of its zone.

    AWS refuses, with 403, what was signed more than five minutes from its own clock.
    """
    moment = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
    added = {"x-amz-date": moment}
    if credentials.session_token:
        added["x-amz-security-token"] = credentials.session_token
    headers = _canonical_headers(request, added)
    place = "/".join((moment[:8], scope.region, scope.service, "aws4_request"))
    digest = sha256(canonical_request(request, headers).encode()).hexdigest()
    text = f"{ALGORITHM}\n{moment}\n{place}\n{digest}"
    signature = _hmac(_key(credentials, place), text).hex()
    added["authorization"] = (
        f"{ALGORITHM} Credential={credentials.access_key_id}/{place}, "
        f"SignedHeaders={';'.join(headers)}, Signature={signature}"
    )
    return added


def canonical_request(request: Signable, headers: Mapping[str, str]) -> str:
    """Write the request in the one form that both sides sign; ``headers`` are canonical already."""
    url = urlsplit(request.url)
    return "\n".join(
        (
            request.method.upper(),
            quote(_normal_path(url.path), safe="/~"),
            _canonical_query(url.query),
            *(f"{name}:{text}" for name, text in headers.items()),
            "",
            ";".join(headers),
            sha256(request.body).hexdigest(),
        )
    )


def _canonical_headers(request: Signable, added: Mapping[str, str]) -> dict[str, str]:
    """Lower-case names, single spaces, sorted by name."""
    headers = {"host": _host(urlsplit(request.url))}
    for name, text in (*request.headers.items(), *added.items()):
        headers[name.lower()] = " ".join(text.split())
    return dict(sorted(headers.items()))


def _host(url: SplitResult) -> str:
    """The host as HTTP clients send it: without the scheme's own port."""
    host = url.netloc.rpartition("@")[2]
    if url.port == _DEFAULT_PORTS.get(url.scheme):
        return host.removesuffix(f":{url.port}")
    return host


def _normal_path(path: str) -> str:
    """Remove dot segments (RFC 3986, 5.2.4) and, as AWS does, empty ones."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in {"", "."}:
            kept.append(segment)
    end = "/" if kept and path.endswith("/") else ""
    return f"/{'/'.join(kept)}{end}"


def _canonical_query(query: str) -> str:
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    return "&".join(f"{name}={value}" for name, value in sorted((p[0], p[2]) for p in pairs))


def _key(credentials: Credentials, place: str) -> bytes:
    """Derive the signing key: of the day, the region and the service alone."""
    key = f"AWS4{credentials.secret_access_key}".encode()
    for part in place.split("/"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")

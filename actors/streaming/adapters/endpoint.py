"""Where a call goes and with what credentials: what of a provider is not its wire format."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from bus.errors import problem
from bus.security.secrets import Secrets
from schemas.ids import TenantId

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_OUR_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "host", "te", "transfer-encoding"}
)


class CallContext(NamedTuple):
    """For whom a call is made, and which attempt at its step it is, from 1.

    ``step`` names the step: every attempt at it makes the same request.
    """

    tenant: TenantId
    attempt: int
    step: str = ""


class Outgoing(NamedTuple):
    """A request as it is sent, of these very bytes: a signature covers them.

    One that is to arrive only ``once`` is not sent again on its own, whatever the connection does.
    """

    url: str
    headers: Mapping[str, str]
    body: bytes
    method: str = "POST"
    once: bool = False


class Address(NamedTuple):
    """A server, and the secret for it unless it needs none."""

    base_url: str
    secret: str | None


def own(base_url: str, own_secret: str | None, url: str | None, secret: str | None) -> Address:
    """Return where a definition's request goes: to its own server, else to the usual one.

    The operator's secret is the default for the usual host only: a definition that names another
    host gets no key unless it names a secret, too.
    """
    target = url or base_url
    is_own_host = urlsplit(target).netloc == urlsplit(base_url).netloc
    return Address(target, secret or (own_secret if is_own_host else None))


def joined(base_url: str, path: str) -> str:
    """Put a path behind a base URL."""
    return f"{base_url.rstrip('/')}/{path}"


def resolved(secrets: Secrets, address: Address, context: CallContext) -> str | None:
    """Return the key for an address; None where it needs none.

    Raises:
        ProblemError: as ``Secrets.resolve``.
    """
    if address.secret is None:
        return None
    return secrets.resolve(
        address.secret, address.base_url, context.tenant, field="provider.secret"
    )


def post(
    url: str,
    body: Mapping[str, Any],
    headers: Mapping[str, str],
    custom: Mapping[str, str],
    *,
    accept: str = "text/event-stream",
) -> Outgoing:
    """Write a JSON request. A definition's ``custom`` headers never replace ours.

    Raises:
        ProblemError: ``validation``, a custom header cannot be set.
    """
    ours = {"content-type": "application/json", "accept": accept, **headers}
    return Outgoing(url, beside(custom, ours), msgspec.json.encode(body))


def beside(custom: Mapping[str, str], ours: Mapping[str, str]) -> dict[str, str]:
    """Return our headers with a definition's ``custom`` ones, which never replace ours.

    Raises:
        ProblemError: ``validation``, a custom header cannot be set.
    """
    return {**{name.lower(): text for name, text in _checked(custom).items()}, **ours}


def _checked(headers: Mapping[str, str]) -> Mapping[str, str]:
    for name, text in headers.items():
        if not _HEADER_NAME.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise problem("validation", "This header cannot be set.", field="provider.headers")
        if not _HEADER_VALUE.fullmatch(text):
            reason = "A header holds printable ASCII characters only."
            raise problem("validation", reason, field=f"provider.headers.{name}")
    return headers

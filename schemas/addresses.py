"""URLs and headers that a user writes into a definition: what they must be, and hold none of. Pure.

A fault is a sentence that goes behind the field's name; it never repeats the value.
"""

import re
from urllib.parse import SplitResult, urlsplit

from schemas import credentials

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}\Z")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*\Z")
_URL_CHARACTERS = re.compile(r"[\x21-\x7e]*\Z")

FRAMING_HEADERS = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-length",
        "expect",
        "host",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say where a request goes and where it ends; they are the client's alone."""


def url_fault(url: str) -> str | None:
    """Say what is wrong with the URL of a server, None if nothing is."""
    parts = _split(url)
    if parts is None:
        return "must be an http or https URL"
    if "@" in parts.netloc:
        return "must not hold a user or password: name a secret instead"
    if parts.query or parts.fragment:
        return "must not hold a query or fragment"
    return None


def _split(url: str) -> SplitResult | None:
    try:
        parts = urlsplit(url)
        valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return None
    named = parts.scheme in ("http", "https") and _URL_CHARACTERS.match(url) is not None
    return parts if valid and named else None


def header_fault(name: str, value: str, instead: str) -> str | None:
    """Say what is wrong with a header, None if nothing is; ``instead`` of a credential do what."""
    if _HEADER_NAME.match(name) is None:
        return "is not the name of a header"
    if _HEADER_VALUE.match(value) is None:
        return "must be printable ASCII"
    if name.lower() in FRAMING_HEADERS:
        return "is set by the client alone"
    if credentials.is_sensitive_name(name) or credentials.is_credential_value(value):
        return instead
    return None

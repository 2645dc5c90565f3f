"""URLs as far as a client needs them: where to connect, and what to ask for there."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from bus.errors import ProblemError, problem

_USUAL_PORTS = {"http": 80, "https": 443}
_HOST = re.compile(r"[A-Za-z0-9._~-]{1,253}\Z|[0-9A-Fa-f:.]{2,45}\Z")
_CLEAN = re.compile(r"[\x21-\x7e]{1,16384}\Z")


class HttpOrigin(NamedTuple):
    """A server: only requests to the same one share a connection."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The host as it stands in a URL, with the port unless it is the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def full_authority(self) -> str:
        """The host with the port in any case, as CONNECT wants it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class HttpTarget(NamedTuple):
    """An origin, its ``host`` header, and the path with its query."""

    origin: HttpOrigin
    host: str
    path: str

    @property
    def absolute(self) -> str:
        """The whole URL, as a proxy wants it."""
        return f"{self.origin.scheme}://{self.host}{self.path}"


@lru_cache(maxsize=1024)
def http_target(url: str, field: str = "url") -> HttpTarget:
    """Read an absolute URL; a fragment is dropped.

    Raises:
        ProblemError: ``validation`` and naming ``field``: another scheme, no host, a user or a
            password, characters that a URL writes with a percent sign.
    """
    if not _CLEAN.match(url) or "\\" in url:
        raise _no_url(field)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _no_url(field) from None
    scheme, host = parts.scheme.lower(), (parts.hostname or "").lower()
    if scheme not in _USUAL_PORTS or "@" in parts.netloc or not _HOST.match(host):
        raise _no_url(field)
    path = parts.path or "/"
    query = f"?{parts.query}" if parts.query else ""
    origin = HttpOrigin(scheme, host, port or _USUAL_PORTS[scheme])
    return HttpTarget(origin, origin.authority, f"{path}{query}")


def _no_url(field: str) -> ProblemError:
    return problem("validation", "This is no URL that can be called.", field=field)

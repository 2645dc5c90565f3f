"""Proxies by the usual variables: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY.

Names in lower case go before those in upper case. NO_PROXY lists, between commas, ``*``, names
(which stand for those below them, too), addresses and networks, each with or without a port. This
machine is always called directly, as in Go and curl's practice.
"""

from base64 import b64encode
from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from bus.errors import ConfigError
from bus.http.urls import HttpOrigin

_PROXY_PORT = 80


class HttpProxy(NamedTuple):
    """A proxy that is spoken to in the clear; ``credentials`` are the value of a header."""

    host: str
    port: int
    credentials: str


class HttpProxies:
    """Which proxy stands before which origin."""

    def __init__(self, by_scheme: Mapping[str, HttpProxy], direct: str = "") -> None:
        self._by_scheme = by_scheme
        self._direct = [entry.strip().lower() for entry in direct.split(",") if entry.strip()]

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> "HttpProxies":
        """Read the variables.

        Raises:
            ConfigError: a proxy that cannot be used, such as a SOCKS one.
        """
        by_scheme: dict[str, HttpProxy] = {}
        for scheme in ("http", "https"):
            for name in (f"{scheme}_proxy", "all_proxy"):
                proxy = _proxy(name.upper(), _said(environ, name))
                if proxy is not None:
                    by_scheme.setdefault(scheme, proxy)
        return cls(by_scheme, _said(environ, "no_proxy"))

    def before(self, origin: HttpOrigin) -> HttpProxy | None:
        """Return the proxy that stands before an origin; None where it is called directly."""
        proxy = self._by_scheme.get(origin.scheme)
        if proxy is None or _is_here(origin.host):
            return None
        return None if any(_matches(entry, origin) for entry in self._direct) else proxy


def _said(environ: Mapping[str, str], name: str) -> str:
    return environ.get(name) or environ.get(name.upper()) or ""


def _proxy(name: str, text: str) -> HttpProxy | None:
    if not text:
        return None
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        port = parts.port or _PROXY_PORT
    except ValueError:
        raise ConfigError(name, "this is no URL of a proxy") from None
    if parts.scheme != "http" or not parts.hostname:
        raise ConfigError(name, "only proxies that are spoken to by http:// can be used")
    user = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    credentials = f"Basic {b64encode(user.encode()).decode()}" if parts.username else ""
    return HttpProxy(parts.hostname, port, credentials)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.rstrip(".") == "localhost"


def _matches(entry: str, origin: HttpOrigin) -> bool:
    name, colon, port = entry.rpartition(":")
    if colon and port.isdigit() and (":" not in name or name.endswith("]")):
        if int(port) != origin.port:
            return False
        entry = name
    entry = entry.strip("[]")
    if entry == "*":
        return True
    try:
        return ip_address(origin.host) in ip_network(entry, strict=False)
    except ValueError:
        name = entry.removeprefix("*").strip(".")
        host = origin.host.rstrip(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))

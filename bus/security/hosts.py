"""Where a secret may go: hosts as the operator lists them, and URLs held against them exactly.

An entry is ``host``, ``host:port`` or ``host:port/path``. A name matches itself, in any case. A
``*.`` in front of a name stands for one or more labels before it; a ``*`` within a label stands for
one or more letters, digits and hyphens there. An address matches that very address, however either
is written, and never a ``*``. Without a port every port will do; with a path, all paths below it.

What different programs may read differently matches nothing: users and passwords, zones of
addresses, backslashes, escapes and dots in a host or a path, numbers that are no address, names
that are not ASCII (which an entry and a URL write in their ``xn--`` form).
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_STARRED = re.compile(r"[a-z0-9_-]*\*[a-z0-9_-]*\Z")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
_PORT = re.compile(r"[0-9]{1,5}\Z")
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@-]+)*\Z")
_LONGEST_NAME = 253
_LAST_PORT = 65_535
_USUAL_PORTS = {"https": 443, "http": 80}

Host = IPv4Address | IPv6Address | tuple[str, ...]
"""An address, or the labels of a name."""


class Target(NamedTuple):
    """What a URL calls: an address or a name, a port and a path."""

    scheme: str
    host: Host
    port: int
    path: str

    @property
    def is_here(self) -> bool:
        """Whether it is this machine."""
        return self.host == ("localhost",) or (
            not isinstance(self.host, tuple) and self.host.is_loopback
        )


class HostEntry(NamedTuple):
    """One line of the operator's list."""

    host: Host
    port: int | None
    path: str

    def matches(self, target: Target) -> bool:
        """Say whether a target is one of those that are meant."""
        below = target.path == self.path or target.path.startswith(f"{self.path}/")
        if self.path and "%" in target.path:
            # An escaped slash or dot may be undone behind us.
            return False
        return self.port in {None, target.port} and below and _host_matches(self.host, target.host)


def target_of(url: str) -> Target | None:
    """Read a URL; None if it names no host, or could be read in another way."""
    if not url.isascii() or not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    named = _read(parts.netloc)
    if named is None or parts.scheme not in _USUAL_PORTS or _is_starred(named[0]):
        return None
    path = _plain_path(parts)
    usual = _USUAL_PORTS[parts.scheme]
    return None if path is None else Target(parts.scheme, named[0], port or usual, path)


def entry_of(text: str) -> HostEntry | None:
    """Read an entry; None if it is none."""
    netloc, slash, path = text.partition("/")
    path = f"{slash}{path}".rstrip("/")
    named = _read(f"[{netloc}]" if _is_v6(netloc) else netloc)
    if named is None or not _PATH.match(path) or _has_dots(path):
        return None
    host, port = named
    if isinstance(host, tuple) and "*" in host[-1]:
        # That would be the whole world.
        return None
    return HostEntry(host, port, path)


def _read(netloc: str) -> tuple[Host, int | None] | None:
    """Read a host with or without a port."""
    name, colon, port = netloc.rpartition(":")
    if not colon or netloc.endswith("]"):
        name, port = netloc, ""
    elif not _PORT.match(port) or int(port) > _LAST_PORT:
        return None
    host = _host(name.lower())
    return None if host is None else (host, int(port) if port else None)


def _host(name: str) -> Host | None:
    if name.startswith("[") and name.endswith("]"):
        return _address(name[1:-1]) if _is_v6(name[1:-1]) else None
    name = name.removesuffix(".")
    labels = tuple(name.split("."))
    if _NUMBER.match(labels[-1]):
        return _address(name)
    legal = all(_LABEL.match(label) or _STARRED.match(label) for label in labels)
    return labels if legal and len(name) <= _LONGEST_NAME else None


def _address(text: str) -> Host | None:
    try:
        return None if "%" in text else ip_address(text)
    except ValueError:
        return None


def _is_v6(text: str) -> bool:
    return isinstance(_address(text), IPv6Address)


def _is_starred(host: Host) -> bool:
    return isinstance(host, tuple) and any("*" in label for label in host)


def _host_matches(listed: Host, host: Host) -> bool:
    if not isinstance(listed, tuple) or not isinstance(host, tuple):
        return listed == host
    if listed[0] == "*" and len(host) > len(listed):
        host = host[len(host) - len(listed) :]
    return len(listed) == len(host) and all(map(_label_matches, listed, host))


def _label_matches(listed: str, label: str) -> bool:
    before, star, after = listed.partition("*")
    if not star:
        return listed == label
    long_enough = len(label) > len(before) + len(after)
    return long_enough and label.startswith(before) and label.endswith(after)


def _plain_path(parts: SplitResult) -> str | None:
    path = parts.path.rstrip("/")
    return None if parts.query or parts.fragment or _has_dots(path) else path


def _has_dots(path: str) -> bool:
    return any(segment in {".", ".."} for segment in path.lower().replace("%2e", ".").split("/"))

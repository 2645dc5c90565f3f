"""The one policy on where the fleet may connect at a user's wish: base URLs, tools, webhooks.

A name is resolved here, and the caller connects to the addresses returned and to no others, so that
a name which resolves differently a moment later gains nothing. Whoever follows a redirect asks
again.
"""

import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import anyio

from bus.errors import ConfigError, ProblemError, problem

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FIELD = "url"
"""What a refusal names, unless the caller knows how its user wrote the address."""
"""The field named in a refusal unless the caller names another."""

_NAT64 = IPv6Network("64:ff9b::/96")

# Special ranges that ``is_global`` lets pass, in some or all of the Python versions we support.
_NEVER_PUBLIC: tuple[Network, ...] = (
    IPv4Network("168.63.129.16/32"),  # the host agent of an Azure machine
    IPv4Network("192.0.0.0/24"),  # protocol assignments
    IPv4Network("192.88.99.0/24"),  # 6to4 relays
    IPv6Network("64:ff9b:1::/48"),  # NAT64 into the local network
    IPv6Network("100::/64"),  # discard
    IPv6Network("2001::/23"),  # protocol assignments, Teredo among them
    IPv6Network("5f00::/16"),  # segment routing
    IPv6Network("fec0::/10"),  # what site-local addresses used to be
)


class Egress:
    """Says which addresses a connection may go to.

    Public addresses are open. Loopback is open if ``allow_loopback`` says so. Everything else is
    closed, except what ``allowed`` lists: host names, addresses, or networks such as
    ``10.1.0.0/16``.
    """

    def __init__(self, *, allow_loopback: bool = False, allowed: Iterable[str] = ()) -> None:
        self._allow_loopback = allow_loopback
        self._hosts: set[str] = set()
        self._networks: list[Network] = []
        for entry in allowed:
            self._allow(entry.strip().lower())

    async def resolve(self, host: str, port: int, *, field: str = FIELD) -> list[Address]:
        """Resolve a host and return the addresses a connection may go to.

        Raises:
            ProblemError: ``forbidden`` and naming ``field``, if there are only addresses that are
                closed; ``unavailable`` if the name has none.
        """
        try:
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            reason = "The host name cannot be resolved."
            raise problem("unavailable", reason, field=field, retryable=True) from None
        addresses = dict.fromkeys(_address(entry[4][0]) for entry in found)
        allowed = [address for address in addresses if self.allows(host, address)]
        if not allowed:
            raise refused(field)
        return allowed

    def check_literal(self, host: str, *, field: str = FIELD) -> None:
        """Refuse a closed address that is written out in a URL; names wait for ``resolve``.

        Short forms such as 127.1 are refused as well: what they mean is up to the resolver.

        Raises:
            ProblemError: ``forbidden`` and naming ``field``.
        """
        if ":" not in host and not host.replace(".", "").isdigit():
            return
        try:
            allowed = self.allows(host, _address(host))
        except ValueError:
            allowed = False
        if not allowed:
            raise refused(field)

    def allows(self, host: str, address: Address) -> bool:
        """Whether a connection to the address may be opened for the host."""
        if isinstance(address, IPv6Address):
            address = address.ipv4_mapped or address
        if address.is_unspecified or address.is_multicast:
            # 0.0.0.0 would reach this machine by a name that is not loopback's.
            return False
        if self._listed(host, address):
            return True
        return self._allow_loopback if address.is_loopback else is_public(address)

    def _listed(self, host: str, address: Address) -> bool:
        return _plain(host) in self._hosts or any(address in net for net in self._networks)

    def _allow(self, entry: str) -> None:
        try:
            self._networks.append(ip_network(entry, strict=False))
        except ValueError:
            if not entry or "/" in entry or "*" in entry:
                reason = f"{entry!r} is no host name, address or network"
                raise ConfigError("CALLBOARD_ALLOWED_HOSTS", reason) from None
            self._hosts.add(_plain(entry))


def refused(field: str = FIELD) -> ProblemError:
    """Build the refusal of an address. It does not tell what the name resolved to."""
    return problem("forbidden", "This address is closed to connections of the fleet.", field=field)


def is_public(address: Address) -> bool:
    """Whether an address belongs to the public internet, also where it hides a v4 one inside."""
    address = _embedded(address)
    if any(address in network for network in _NEVER_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)


def _embedded(address: Address) -> Address:
    """Return the v4 address inside a mapped, NAT64 or 6to4 one, else the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _address(text: str) -> Address:
    """Read an address as the resolver writes it, with or without a zone."""
    return ip_address(text.partition("%")[0])


def _plain(host: str) -> str:
    return host.lower().rstrip(".")

import socket
from contextlib import suppress
from ipaddress import IPv4Address, ip_address
from typing import Any

import anyio
import pytest

from bus.errors import ConfigError, ProblemError
from bus.security.egress import Egress, is_public
from schemas.problems import Problem

REFUSED = Problem(
    code="forbidden",
    message="This address is closed to connections of the fleet.",
    field="url",
)

NOWHERE = str(IPv4Address(0))

CLOSED = [
    NOWHERE,
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:0:7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
]
LOOPBACK = ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]
OPEN = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("text", CLOSED)
def test_every_special_address_is_closed(text: str):
    assert not is_public(ip_address(text))
    assert not Egress().allows("example.com", ip_address(text))


@pytest.mark.parametrize("text", OPEN)
def test_public_addresses_are_open(text: str):
    assert Egress().allows("example.com", ip_address(text))


@pytest.mark.parametrize("text", LOOPBACK)
def test_loopback_is_open_where_the_operator_says_so(text: str):
    assert Egress(allow_loopback=True).allows("localhost", ip_address(text))


@pytest.mark.parametrize("text", sorted(set(CLOSED) - set(LOOPBACK)))
def test_allowing_loopback_opens_nothing_else(text: str):
    assert not Egress(allow_loopback=True).allows("localhost", ip_address(text))


def test_listed_hosts_addresses_and_networks_are_open():
    egress = Egress(allowed=["Models.internal", "10.1.0.0/16", "fd00::7"])

    assert egress.allows("models.INTERNAL.", ip_address("192.168.0.1"))
    assert egress.allows("x", ip_address("10.1.2.3"))
    assert egress.allows("x", ip_address("::ffff:10.1.2.3"))
    assert egress.allows("x", ip_address("fd00::7"))
    assert not egress.allows("x", ip_address("10.2.0.1"))
    assert not egress.allows("x.models.internal", ip_address("192.168.0.1"))


@pytest.mark.parametrize("text", [NOWHERE, "::", "224.0.0.1"])
def test_what_is_no_single_machine_stays_closed_even_if_listed(text: str):
    assert not Egress(allowed=["x", "0.0.0.0/0", "::/0"]).allows("x", ip_address(text))


@pytest.mark.parametrize("entry", ["", "10.0.0.0/33", "*.internal", "http://x/"])
def test_a_malformed_list_refuses_the_start(entry: str):
    with pytest.raises(ConfigError, match="CALLBOARD_ALLOWED_HOSTS"):
        Egress(allowed=[entry])


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "::1", "10.0.0.1", "1:2"])
def test_an_address_in_a_url_is_refused_before_anything_connects(host: str):
    with pytest.raises(ProblemError) as caught:
        Egress().check_literal(host)

    assert caught.value.problem == REFUSED


@pytest.mark.parametrize("host", ["8.8.8.8", "2606:4700::1111", "localhost", "10.example.com"])
def test_names_and_open_addresses_pass_the_first_check(host: str):
    passed = list[str]()
    for each in ("10.0.0.1", host):
        with suppress(ProblemError):
            Egress().check_literal(each)
            passed.append(each)

    assert passed == [host]


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "0x7f.1", "127.1", "::1"])
async def test_a_name_that_means_this_machine_is_refused_when_it_resolves(host: str):
    with pytest.raises(ProblemError) as caught:
        await Egress().resolve(host, 80, field="servers.0.url")

    assert caught.value.problem == Problem(
        code="forbidden", message=REFUSED.message, field="servers.0.url"
    )


async def test_loopback_resolves_where_it_is_allowed():
    addresses = await Egress(allow_loopback=True).resolve("localhost", 80)

    assert addresses
    assert all(address.is_loopback for address in addresses)


async def test_only_the_open_ones_of_a_names_addresses_are_returned(
    monkeypatch: pytest.MonkeyPatch,
):
    async def resolver(*_args: Any, **_options: Any) -> list[Any]:
        found = ["10.0.0.1", "8.8.8.8", "8.8.8.8", "fe80::1%eth0"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in found]

    monkeypatch.setattr(anyio, "getaddrinfo", resolver)

    assert await Egress().resolve("example.com", 443) == [ip_address("8.8.8.8")]


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 70 + ".example"])
async def test_an_unknown_name_may_be_tried_again(host: str):
    with pytest.raises(ProblemError) as caught:
        await Egress().resolve(host, 443)

    assert caught.value.problem == Problem(
        code="unavailable",
        message="The host name cannot be resolved.",
        field="url",
        retryable=True,
    )

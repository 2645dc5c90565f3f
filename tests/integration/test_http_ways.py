"""Where the HTTP client connects: addresses, TLS, proxies."""

import asyncio
import os
import socket
import ssl
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import anyio
import pytest

from bus.errors import ProblemError
from bus.http import (
    HttpNotSentError,
    HttpProxies,
)
from bus.http.tls import tls
from bus.security.egress import Egress
from tests.certificates import certify
from tests.http_servers import (
    OK,
    Server,
    calling,
    get,
    sending,
    serving,
    sockets,
)


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


# Where connections go


async def test_closed_addresses_are_refused_before_anything_connects():
    async with serving(sending(OK)) as server, calling(egress=Egress()) as client:
        for host in ("127.0.0.1", "localhost", "[::1]", "127.1", "0.0.0.0"):  # noqa: S104
            with pytest.raises(ProblemError) as caught:
                await get(client, f"http://{host}:{server.url.rpartition(':')[2]}/")
            assert caught.value.problem.code == "forbidden"
        assert (server.connections, client.opened) == (0, 0)


async def test_a_redirect_is_an_answer_like_any_other():
    play = sending(b"HTTP/1.1 302 X\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n")
    async with serving(play) as server, calling() as client:
        async with client.exchange("GET", server.url) as answer:
            assert (answer.status, answer.headers.get("Location")) == (302, "http://10.0.0.1/")
        assert len(server.asked) == 1


async def test_a_name_is_resolved_once_and_the_connection_goes_there(
    monkeypatch: pytest.MonkeyPatch,
):
    names: list[str] = []

    async def resolve(_: Egress, host: str, _port: int, **_named: str) -> list[Any]:
        names.append(host)
        # Nobody answers at the first two; the third is the server.
        return [ip_address("127.0.0.9"), ip_address("127.0.0.8"), ip_address("127.0.0.1")]

    monkeypatch.setattr(Egress, "resolve", resolve)
    async with serving(sending(OK)) as server, calling() as client:
        port = server.url.rpartition(":")[2]
        assert await get(client, f"http://a.invalid:{port}/") == (200, b"ok")
        assert names == ["a.invalid"]
        assert f"host: a.invalid:{port}\r\n".encode() in server.heads[0]


async def test_nobody_there_is_not_sent():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with calling() as client:
            with pytest.raises(HttpNotSentError):
                await get(client, f"http://127.0.0.1:{unused.getsockname()[1]}/")


async def test_addresses_of_ipv6_are_called():
    async with serving(sending(OK), host="::1") as server, calling() as client:
        assert await get(client, server.url) == (200, b"ok")
        assert server.heads[0].split(b"\r\n")[1] == b"host: " + server.url[7:].encode()


# TLS and proxies


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """TLS of a server whose certificate is trusted."""
    certify(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    tls.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


async def test_a_trusted_server_is_called_over_tls(sealed: ssl.SSLContext):
    body = os.urandom(300_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n"
    async with serving(sending(head, body), context=sealed) as server, calling() as client:
        for _ in range(2):
            assert await get(client, server.url) == (200, body)
        assert server.connections == 1


async def test_a_server_that_nobody_trusts_gets_no_request(
    sealed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("SSL_CERT_FILE")
    tls.cache_clear()
    before = sockets()
    async with serving(sending(OK), context=sealed) as server, calling() as client:
        for _ in range(3):
            with pytest.raises(HttpNotSentError):
                await get(client, server.url)
        assert server.asked == []
    while sockets() > before:
        await anyio.sleep(0.01)


async def test_a_certificate_for_another_name_is_none(
    sealed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    async def resolve(*_: Any, **_named: str) -> list[Any]:
        return [ip_address("127.0.0.1")]

    monkeypatch.setattr(Egress, "resolve", resolve)
    async with serving(sending(OK), context=sealed) as server, calling() as client:
        port = server.url.rpartition(":")[2]
        with pytest.raises(HttpNotSentError):
            await get(client, f"https://other.invalid:{port}/")
        assert server.asked == []


class Tunnel(Server):
    """A proxy that answers plain requests by itself, and passes bytes on after CONNECT."""

    def __init__(self, answer: bytes = b"HTTP/1.1 200 Go on\r\n\r\n") -> None:
        super().__init__(sending(OK))
        self.answer = answer

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        self.asked.append(head.split(b"\r\n")[0].decode())
        if not head.startswith(b"CONNECT"):
            writer.write(OK)
            return
        writer.write(self.answer)
        await writer.drain()
        port = int(self.asked[-1].split()[1].rpartition(":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_pass_on, reader, far_writer)
            tasks.start_soon(_pass_on, far_reader, writer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.transport.abort()


def before(variable: str, proxy: Server) -> HttpProxies:
    return HttpProxies.of({variable: proxy.url.replace("//", "//u:p@")})


CREDENTIALS = b"proxy-authorization: Basic dTpw\r\n"


async def test_a_proxy_opens_the_way_and_sees_no_request(
    sealed: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.http.proxies._is_here", lambda _host: False)
    async with serving(sending(OK), context=sealed) as server, serving(Tunnel()) as proxy:
        proxies = before("HTTPS_PROXY", proxy)
        async with calling(proxies=proxies) as client:
            for _ in range(2):
                async with client.exchange("GET", server.url, {"x": "secret"}) as answer:
                    assert await answer.read(9) == b"ok"
    assert proxy.asked == [f"CONNECT {server.url[8:]} HTTP/1.1"]
    assert CREDENTIALS in proxy.heads[0]
    assert CREDENTIALS not in server.heads[0]
    assert server.connections == 1


@pytest.mark.parametrize("said", [b"HTTP/1.1 407 Who\r\n\r\n", b"220 mail\r\n\r\n", b""])
async def test_a_proxy_that_refuses_is_not_gone_around(
    said: bytes, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("bus.http.proxies._is_here", lambda _host: False)
    async with serving(sending(OK)) as server, serving(Tunnel(said)) as proxy:
        proxies = before("ALL_PROXY", proxy)
        async with calling(proxies=proxies, connect_seconds=0.5) as client:
            with pytest.raises(HttpNotSentError):
                await get(client, server.url.replace("http:", "https:"))
    assert server.asked == []


async def test_a_proxy_is_asked_for_the_whole_url_where_nothing_is_sealed():
    egress = Egress(allow_loopback=True, allowed=["203.0.113.5"])
    async with serving(Tunnel()) as proxy:
        proxies = before("http_proxy", proxy)
        async with calling(proxies=proxies, egress=egress) as client:
            assert await get(client, "http://203.0.113.5/a?b") == (200, b"ok")
            with pytest.raises(ProblemError):
                await get(client, "http://10.0.0.1/")
    assert proxy.asked == ["GET http://203.0.113.5/a?b HTTP/1.1"]
    assert CREDENTIALS in proxy.heads[0]

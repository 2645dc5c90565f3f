"""Opens connections: name, addresses, proxy, TLS; everything before the first request."""

import asyncio
import socket
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import ip_address

import anyio

from bus.errors import ProblemError
from bus.http.connection import HttpConnection
from bus.http.errors import HttpNotSentError
from bus.http.proxies import HttpProxy
from bus.http.tls import tls
from bus.http.urls import HttpOrigin
from bus.security.egress import Address, Egress

_STAGGER_SECONDS = 0.25
"""How long an address is tried alone before the next one is tried beside it (RFC 8305)."""

_PROXY_HEAD_BYTES = 16 * 1024


class Opening:
    """Opens connections that the egress policy allows; ``field`` is named where it does not."""

    def __init__(self, egress: Egress, field: str, connect_seconds: float) -> None:
        self._egress = egress
        self._field = field
        self._seconds = connect_seconds

    async def open(
        self, origin: HttpOrigin, proxy: HttpProxy | None, connection: HttpConnection
    ) -> None:
        """Open a connection.

        Raises:
            ProblemError: ``forbidden``, the address is closed; ``unavailable``, the name is
                unknown.
            HttpNotSentError: there is no connection.
        """
        # A literal address is refused at once, and also where a proxy would call it.
        self._egress.check_literal(origin.host, field=self._field)
        try:
            with anyio.fail_after(self._seconds):
                await self._open(origin, proxy, connection)
        except TimeoutError:
            raise HttpNotSentError("The server cannot be reached in time.") from None
        except OSError as error:
            reason = f"The server cannot be reached: {type(error).__name__}."
            raise HttpNotSentError(reason) from None

    async def _open(
        self, origin: HttpOrigin, proxy: HttpProxy | None, connection: HttpConnection
    ) -> None:
        if proxy is None:
            addresses = await self._egress.resolve(origin.host, origin.port, field=self._field)
            connected = await _connected(addresses, origin.port)
        else:
            connected = await self._through(proxy, origin)
        secure = origin.scheme == "https"
        with _closed_if_vain(connected):
            await asyncio.get_running_loop().create_connection(
                lambda: connection,
                sock=connected,
                ssl=tls() if secure else None,
                server_hostname=origin.host if secure else None,
            )

    async def _through(self, proxy: HttpProxy, origin: HttpOrigin) -> socket.socket:
        """Connect to a proxy, and on to the origin where TLS is to be spoken.

        The proxy is the operator's, so its address may be private. It resolves names by itself;
        a name that is known here too, with closed addresses only, is refused here.
        """
        try:
            await self._egress.resolve(origin.host, origin.port, field=self._field)
        except ProblemError as error:
            if error.problem.code == "forbidden":
                raise
        found = await anyio.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
        addresses = [ip_address(str(each[4][0]).partition("%")[0]) for each in found]
        connected = await _connected(list(dict.fromkeys(addresses)), proxy.port)
        if origin.scheme != "https":
            return connected
        with _closed_if_vain(connected):
            await _tunnel(connected, proxy, origin)
        return connected


async def _tunnel(connected: socket.socket, proxy: HttpProxy, origin: HttpOrigin) -> None:
    """Ask a proxy to pass bytes on (RFC 9110, section 9.3.6)."""
    loop = asyncio.get_running_loop()
    server = origin.full_authority
    credentials = f"proxy-authorization: {proxy.credentials}\r\n" if proxy.credentials else ""
    asked = f"CONNECT {server} HTTP/1.1\r\nhost: {server}\r\n{credentials}\r\n"
    await loop.sock_sendall(connected, asked.encode())
    head = b""
    # Behind the head comes nothing of its own: in TLS the client speaks first.
    while not head.endswith(b"\r\n\r\n"):
        more = await loop.sock_recv(connected, _PROXY_HEAD_BYTES)
        head += more
        if not more or len(head) > _PROXY_HEAD_BYTES:
            raise HttpNotSentError("The proxy does not answer as one.")
    status = head.split(b" ", 2)[1:2]
    if not head.startswith(b"HTTP/1.") or not status or not status[0].startswith(b"2"):
        raise HttpNotSentError("The proxy refuses to connect to the server.")


async def _connected(addresses: Sequence[Address], port: int) -> socket.socket:
    """Connect to the first address that answers; each gets a start before the next one.

    Raises:
        OSError: none can be reached; that of the last one.
    """
    if len(addresses) == 1:
        return await _dialled(addresses[0], port)
    won: list[socket.socket] = []
    failed: list[OSError] = []

    async def attempt(address: Address, over: anyio.Event) -> None:
        try:
            won.append(await _dialled(address, port))
            tasks.cancel_scope.cancel()
        except OSError as error:
            failed.append(error)
        over.set()

    async with anyio.create_task_group() as tasks:
        for address in addresses:
            over = anyio.Event()
            tasks.start_soon(attempt, address, over)
            with anyio.move_on_after(_STAGGER_SECONDS):
                await over.wait()
    for spare in won[1:]:
        spare.close()
    if not won:
        raise failed[-1]
    return won[0]


async def _dialled(address: Address, port: int) -> socket.socket:
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6  # noqa: PLR2004  IPv4
    dialling = socket.socket(family, socket.SOCK_STREAM)
    with _closed_if_vain(dialling):
        dialling.setblocking(False)  # noqa: FBT003  the only form there is
        with suppress(OSError):
            dialling.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(dialling, (str(address), port))
    return dialling


@contextmanager
def _closed_if_vain(opened: socket.socket) -> Generator[None]:
    """Close a socket where what was to be done with it fails or is cancelled."""
    done = False
    try:
        yield
        done = True
    finally:
        if not done:
            opened.close()

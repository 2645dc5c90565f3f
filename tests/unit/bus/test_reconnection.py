"""Which server is tried next, and after how long."""

from urllib.parse import urlparse

from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Server

from bus.connection.client import FIRST_PAUSE_SECONDS, Reconnection

LONGEST = 1.0


def _server(port: int, failures: int) -> Server:
    return Server(uri=urlparse(f"nats://127.0.0.1:{port}"), reconnects=failures)


def test_the_server_that_failed_least_is_next():
    servers = [_server(1, 4), _server(2, 1), _server(3, 2)]

    chosen, _ = Reconnection(LONGEST).next(servers, {})

    assert chosen is servers[1]


def test_the_first_pause_is_short():
    _, pause = Reconnection(LONGEST).next([_server(1, 0)], {})

    assert FIRST_PAUSE_SECONDS / 2 <= pause <= FIRST_PAUSE_SECONDS


@given(st.integers(0, 10_000))
def test_every_pause_is_bounded_and_none_is_missing(failures: int):
    _, pause = Reconnection(LONGEST).next([_server(1, failures)], {})

    longest = min(LONGEST, FIRST_PAUSE_SECONDS * 2 ** min(failures, 16))
    assert longest / 2 <= pause <= longest

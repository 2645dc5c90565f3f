"""The HTTP client against real sockets: what is kept, cut, repeated, bounded and counted."""

import asyncio
import gzip
import os
from contextlib import suppress

import anyio
import pytest

from bus.http import (
    HttpBrokenError,
    HttpClient,
    HttpError,
    HttpNotSentError,
    HttpSilentError,
    HttpTooLargeError,
)
from tests.http_servers import (
    CHUNKED,
    OK,
    Asked,
    Server,
    calling,
    get,
    gone,
    sending,
    serving,
    silent,
    sockets,
)
from tests.lag import TOLERATED_SECONDS, measured


@pytest.fixture(scope="module", params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


# Kept connections


async def test_one_connection_serves_one_exchange_after_another():
    async with serving(sending(OK)) as server, calling() as client:
        for _ in range(5):
            assert await get(client, server.url) == (200, b"ok")
        assert (server.connections, client.opened, client.closed) == (1, 1, 0)


@pytest.mark.parametrize("close", [b"connection: close\r\n", b""], ids=["said", "by length"])
async def test_a_server_that_closes_gets_a_new_connection(close: bytes):
    length = b"content-length: 2\r\n" if close else b""
    play = sending(b"HTTP/1.1 200 OK\r\n" + length + close + b"\r\nok", close=True)
    async with serving(play) as server, calling() as client:
        for _ in range(3):
            assert await get(client, server.url) == (200, b"ok")
        assert server.connections == 3


async def test_a_body_that_is_not_read_to_its_end_closes_the_connection_at_once():
    async def play(asked: Asked) -> None:
        await asked.send(CHUNKED, b"2\r\nok\r\n")
        await anyio.sleep_forever()

    async with serving(play) as server, calling() as client:
        async with client.exchange("POST", server.url, body=b"x") as answer:
            assert await answer.piece() == b"ok"
        with anyio.fail_after(2):
            while client.opened > client.closed:
                await anyio.sleep(0.005)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 100 C\r\n\r\n", CHUNKED])
async def test_cancelling_an_exchange_closes_its_connection_and_no_other(start: bytes):
    async def play(asked: Asked) -> None:
        if "hang" in asked.line:
            await asked.send(start)
            await anyio.sleep_forever()
        await asked.send(OK)

    async with serving(play) as server, calling() as client:
        await get(client, server.url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(get, client, f"{server.url}/hang")
            while server.asked[-1] != "GET /hang HTTP/1.1":
                await anyio.sleep(0.005)
            assert await get(client, server.url) == (200, b"ok")
            tasks.cancel_scope.cancel()
        while client.opened - client.closed > 1:
            await anyio.sleep(0.005)
        assert await get(client, server.url) == (200, b"ok")
        assert client.opened == 2


async def test_a_kept_connection_grows_old():
    async with serving(sending(OK)) as server, calling(keep_alive_seconds=0.1) as client:
        await get(client, server.url)
        with anyio.fail_after(5):
            while client.closed < 1:
                await anyio.sleep(0.01)
        assert await get(client, server.url) == (200, b"ok")
        assert server.connections == 2


async def test_more_is_not_kept_than_allowed():
    async with calling(kept=2) as client:
        for _ in range(4):
            async with serving(sending(OK)) as server:
                await get(client, server.url)
        while client.closed < 2:
            await anyio.sleep(0.005)
        assert client.opened == 4


async def test_bytes_that_nobody_asked_for_close_a_kept_connection():
    late = anyio.Event()

    async def play(asked: Asked) -> None:
        await asked.send(OK)
        if len(server.asked) == 1:
            await late.wait()
            await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")

    async with serving(play) as server, calling() as client:
        await get(client, server.url)
        late.set()
        while not client.closed:
            await anyio.sleep(0.005)
        assert await get(client, server.url) == (200, b"ok")


# Repeating


@pytest.mark.parametrize("may_repeat", [True, False])
async def test_a_kept_connection_that_turns_out_closed_is_replaced_if_allowed(may_repeat: bool):
    async def play(asked: Asked) -> None:
        if len(server.asked) == 2:
            asked.cut()
        await asked.send(OK)

    async with serving(play) as server, calling() as client:
        await get(client, server.url)
        if may_repeat:
            assert await get(client, server.url, may_repeat=True) == (200, b"ok")
        else:
            with pytest.raises(HttpBrokenError):
                await get(client, server.url)
        assert len(server.asked) == (3 if may_repeat else 2)


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 "])
async def test_nothing_is_repeated_on_a_new_connection_or_after_the_first_byte(sent: bytes):
    async def play(asked: Asked) -> None:
        if sent and len(server.asked) == 1:
            await asked.send(OK)
            return
        await asked.send(sent)
        asked.writer.close()

    async with serving(play) as server, calling() as client:
        if sent:
            await get(client, server.url)
        with pytest.raises(HttpBrokenError):
            await get(client, server.url, may_repeat=True)
        assert len(server.asked) == (2 if sent else 1)


async def test_a_fresh_exchange_opens_a_connection_even_where_one_is_kept():
    async with serving(sending(OK)) as server, calling() as client:
        await get(client, server.url)
        await get(client, server.url, fresh=True)
        assert server.connections == 2


@pytest.mark.parametrize("fresh", [True, False])
async def test_no_more_connections_are_open_than_allowed_and_all_get_a_turn(fresh: bool):
    most = 0

    async def play(asked: Asked) -> None:
        nonlocal most
        most = max(most, server.open)
        await anyio.sleep(0.002)
        await asked.send(OK)

    async with serving(play) as server, calling(connections=3) as client:
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(_maybe_cancelled, client, server.url, number % 5 == 4, fresh)
        assert most <= 3 + fresh
        assert await get(client, server.url) == (200, b"ok")
        assert client.opened - client.closed <= 3


async def _maybe_cancelled(client: HttpClient, url: str, early: bool, fresh: bool) -> None:
    with anyio.move_on_after(0.001 if early else 10):
        assert await get(client, url, fresh=fresh) == (200, b"ok")


async def test_who_comes_first_is_served_first_and_too_many_are_sent_away():
    order: list[str] = []

    async def play(asked: Asked) -> None:
        order.append(asked.line.split()[1])
        await asked.send(OK)

    async with serving(play) as server, calling(connections=1, waiting=5) as client:
        async with anyio.create_task_group() as tasks:
            for number in range(6):
                tasks.start_soon(get, client, f"{server.url}/{number}")
            await anyio.wait_all_tasks_blocked()
            with pytest.raises(HttpNotSentError):
                await get(client, f"{server.url}/late")
        assert order == [f"/{number}" for number in range(6)]


# Bodies


async def test_a_large_body_comes_in_small_pieces_and_no_faster_than_it_is_read():
    sent = 0

    async def play(asked: Asked) -> None:
        nonlocal sent
        await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64):
            await asked.send(bytes(1 << 20))
            sent += 1

    async with serving(play) as server, calling() as client:
        async with client.exchange("GET", server.url) as answer:
            await anyio.sleep(0.3)
            assert sent < 20
            size = 0
            async with measured() as lag:
                async for piece in answer.pieces():
                    assert len(piece) <= 32 * 1024
                    size += len(piece)
        assert size == 64 << 20
        assert lag.longest < TOLERATED_SECONDS
        await get(client, f"{server.url}/again")
        assert server.connections == 1


async def test_a_large_request_is_written_no_faster_than_it_is_taken():
    body = os.urandom(1 << 20) * 8

    async def play(asked: Asked) -> None:
        assert asked.body == body
        await asked.send(OK)

    async with serving(play) as server, calling() as client:
        for _ in range(2):
            async with client.exchange("PUT", server.url, {"x": "y"}, body) as answer:
                assert await answer.read(2) == b"ok"
        assert server.connections == 1


class Hasty(Server):
    """Answers as soon as it has read a head."""

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n")
        await anyio.sleep_forever()


async def test_an_answer_before_the_whole_request_is_taken_and_ends_the_connection():
    async with serving(Hasty(silent)) as server, calling() as client:
        async with client.exchange("POST", server.url, body=bytes(64 << 20)) as answer:
            assert answer.status == 413
        while not client.closed:
            await anyio.sleep(0.005)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"identity"])
async def test_packed_bodies_are_asked_for_and_unpacked(encoding: bytes):
    text = b"some text " * 20_000
    body = text if encoding == b"identity" else gzip.compress(text)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    async with serving(sending(head % (encoding, len(body)), body)) as server, calling() as client:
        for _ in range(2):
            assert await get(client, server.url) == (200, text)
        assert b"accept-encoding: gzip, deflate\r\n" in server.heads[0]
        assert server.connections == 1


async def test_a_bomb_is_cut_and_nobody_waits_for_it():
    bomb = gzip.compress(bytes(1 << 20)) * 100
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    async with serving(sending(head, bomb)) as server, calling(body_bytes=32 << 20) as client:
        async with measured() as lag:
            with pytest.raises(HttpTooLargeError):
                await get(client, server.url)
            with pytest.raises(HttpTooLargeError):
                async with client.exchange("GET", server.url) as answer:
                    await answer.read(1000)
        assert lag.longest < TOLERATED_SECONDS


async def test_a_body_that_is_cut_off_is_broken_after_what_came_of_it():
    play = sending(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", close=True)
    async with (
        serving(play) as server,
        calling() as client,
        client.exchange("GET", server.url) as answer,
    ):
        assert await answer.piece() == b"ab"
        with pytest.raises(HttpBrokenError):
            await answer.piece()


async def test_a_silent_body_is_given_up_unless_it_may_pause():
    async def play(asked: Asked) -> None:
        await asked.send(CHUNKED, b"2\r\nok\r\n")
        await anyio.sleep(0.5)
        with suppress(OSError):
            await asked.send(b"0\r\n\r\n")

    async with serving(play) as server, calling(read_seconds=0.1) as client:
        with pytest.raises(HttpSilentError):
            await get(client, server.url)
        assert await get(client, server.url, endless=True) == (200, b"ok")


async def test_a_cancelled_read_loses_nothing():
    ready = anyio.Event()

    async def play(asked: Asked) -> None:
        await asked.send(CHUNKED)
        await ready.wait()
        await asked.send(b"2\r\nok\r\n0\r\n\r\n")

    async with serving(play) as server, calling() as client:
        async with client.exchange("GET", server.url) as answer:
            with anyio.move_on_after(0.02):
                await answer.piece()
            ready.set()
            assert await answer.read(10) == b"ok"
        await get(client, server.url)
        assert server.connections == 1


# The ledger


async def test_whatever_is_cancelled_or_cut_nothing_is_left():
    """A thousand exchanges end in any way; each socket that was opened is closed."""
    before = sockets()

    async def play(asked: Asked) -> None:
        match len(server.asked) % 7:
            case 0:
                asked.cut()
            case 1:
                await asked.send(CHUNKED, b"2\r\nok\r\n")
                asked.cut()
            case 2:
                await silent(asked)
            case 3:
                await asked.send(b"nonsense\r\n\r\n")
            case _:
                await asked.send(OK)

    async def one(number: int) -> None:
        with anyio.move_on_after(0.001 * (number % 40)), suppress(HttpError):
            await get(client, server.url, may_repeat=number % 2 == 0, fresh=number % 5 == 0)

    async with serving(play) as server, calling(connections=20) as client:
        for start in range(0, 1000, 100):
            async with anyio.create_task_group() as tasks:
                for number in range(start, start + 100):
                    tasks.start_soon(one, number)
        assert client.opened - client.closed <= 20
    assert client.opened > 100
    await gone(server)
    while sockets() > before:
        await anyio.sleep(0.01)

"""Conversations in their stream on a real server."""

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path

import pytest

from actors.agents.adapters.conversations import Conversations
from bus.connection import Address
from bus.jetstream import NatsBus, open_bus
from bus.ports import Stored
from bus.streams.spec import CONVERSATION_TURNS
from tests.servers import local_server
from tests.unit.agents.samples import append, turn


class Reader:
    """Reads the stream with as many requests as it takes."""

    def __init__(self, bus: NatsBus) -> None:
        self._bus = bus

    async def read_subject(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> Sequence[Stored]:
        stored = self._bus.stored(stream).read(subject, start=start)
        return [message async for message in stored][:limit]

    async def last_of_each(
        self, stream: str, filters: list[str], *, limit: int
    ) -> Sequence[tuple[str, Stored]]:
        newest: dict[str, Stored] = {}
        for wanted in filters:
            info = await self._bus.jetstream.stream_info(stream, subjects=wanted)
            for subject in info["state"].get("subjects") or {}:
                message = await self._bus.stored(stream).last(subject)
                assert message is not None
                newest[subject] = message
        return list(newest.items())[:limit]


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncGenerator[NatsBus]:
    async with (
        local_server(tmp_path) as server,
        open_bus(Address(urls=server.urls, name="test"), durability=server.durability) as on_nats,
    ):
        yield on_nats


@pytest.fixture
def conversations(bus: NatsBus) -> Conversations:
    reader = Reader(bus)
    return Conversations(reader.read_subject, reader.last_of_each)


async def test_turns_come_back_from_the_stream_in_their_order(
    bus: NatsBus, conversations: Conversations
):
    for number in range(5):
        await append(bus.outbox, "acme", turn(number))
    await append(bus.outbox, "acme", turn(9, session="session-2"))
    await bus.outbox.flush(timeout=10)

    turns = await conversations.turns("acme", "reviewer", "session-1")

    assert turns == [turn(number) for number in range(5)]


async def test_a_turn_that_is_sent_twice_is_read_once(bus: NatsBus, conversations: Conversations):
    for number in (1, 2, 1):
        await append(bus.outbox, "acme", turn(number))
    await bus.outbox.flush(timeout=10)

    assert await conversations.turns("acme", "reviewer", "session-1") == [turn(1), turn(2)]


async def test_the_stream_keeps_the_newest_turns_of_each_session(
    bus: NatsBus, conversations: Conversations
):
    await append(bus.outbox, "acme", turn(0, session="session-2"))
    for number in range(CONVERSATION_TURNS + 20):
        await append(bus.outbox, "acme", turn(number))
    await bus.outbox.flush(timeout=10)

    turns = await conversations.turns("acme", "reviewer", "session-1")

    assert turns == [turn(number) for number in range(20, CONVERSATION_TURNS + 20)]
    assert len(await conversations.turns("acme", "reviewer", "session-2")) == 1


async def test_the_sessions_of_an_agent_are_found_by_their_newest_turn(
    bus: NatsBus, conversations: Conversations
):
    for number in range(6):
        await append(bus.outbox, "acme", turn(number, session=f"session-{number % 2}"))
    await append(bus.outbox, "acme", turn(7, agent_id="writer"))
    await append(bus.outbox, "umbrella", turn(8))
    await bus.outbox.flush(timeout=10)

    sessions = await conversations.sessions("acme", "reviewer")

    assert {row.session: row.last_execution_id for row in sessions} == {
        "session-0": "execution-4",
        "session-1": "execution-5",
    }

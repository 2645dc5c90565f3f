"""Conversations in their stream on a real server."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from actors.agents.adapters.conversations import Conversations
from bus.connection import NatsAddress
from bus.jetstream import NatsBus, open_bus
from bus.jetstream.reading import StreamReader
from bus.streams.spec import CONVERSATION_TURNS
from tests.servers import local_server
from tests.unit.agents.samples import append, turn


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncGenerator[NatsBus]:
    async with (
        local_server(tmp_path) as server,
        open_bus(
            NatsAddress(urls=server.urls, name="test"), durability=server.durability
        ) as on_nats,
    ):
        yield on_nats


@pytest.fixture
def conversations(bus: NatsBus) -> Conversations:
    return Conversations(StreamReader(bus.nats).read_subject)


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

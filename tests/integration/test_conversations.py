"""Conversations in their stream on a real server."""

from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path

import msgspec
import pytest

from actors.agents.adapters.conversations import Conversations, Readers
from bus.connection import Address
from bus.jetstream import NatsBus, open_bus
from bus.jetstream.direct_get import MOST_SUBJECTS
from bus.jetstream.reading import StreamReader
from bus.kv import newest_of_each
from bus.streams.spec import CONVERSATION_TURNS
from schemas.conversations import ListConversations
from tests.servers import local_server
from tests.unit.agents.samples import append, turn


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncGenerator[NatsBus]:
    async with (
        local_server(tmp_path) as server,
        open_bus(Address(urls=server.urls, name="test"), durability=server.durability) as on_nats,
    ):
        yield on_nats


@pytest.fixture
def conversations(bus: NatsBus) -> Conversations:
    reader = StreamReader(bus.nats)
    newest = partial(newest_of_each, bus.nats)
    return Conversations(Readers(reader.read_subject, newest, reader.last_of))


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

    page = await conversations.page("acme", ListConversations(agent_id="reviewer"))

    assert page.total == 2
    assert [(row.session, row.last_execution_id) for row in page.conversations] == [
        ("session-1", "execution-5"),
        ("session-0", "execution-4"),
    ]


async def test_more_sessions_than_the_server_answers_at_once_are_all_listed(
    bus: NatsBus, conversations: Conversations
):
    count = MOST_SUBJECTS + 200
    for number in range(count):
        await append(bus.outbox, "acme", turn(number, session=f"s{number}"))
    await bus.outbox.flush(timeout=20)

    query = ListConversations(agent_id="reviewer", limit=1000)
    first = await conversations.page("acme", query)
    second = await conversations.page("acme", msgspec.structs.replace(query, offset=1000))

    assert (first.total, second.total) == (count, count)
    listed = [row.session for row in (*first.conversations, *second.conversations)]
    assert listed == [f"s{number}" for number in reversed(range(count))]


async def test_an_agent_without_sessions_has_an_empty_list(conversations: Conversations):
    page = await conversations.page("acme", ListConversations(agent_id="reviewer"))

    assert (page.conversations, page.total) == ([], 0)

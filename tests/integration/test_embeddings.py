"""Embeddings through a whole fleet: an execution whose caller gets the vectors."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import anyio
import msgspec
from aiohttp import web
from nats.js.errors import NotFoundError

from bus.codec import encode
from bus.streams.spec import RECORDS, journal_stream
from schemas.embeddings import RETENTION_SECONDS, Embed
from schemas.executions import CancelExecution, GetExecution, ListExecutions
from schemas.providers import Anthropic, Custom
from tests.fleet import PlainClient, running_fleet
from tests.providers_fake import fake_provider, in_turn, never_beginning


async def lengths(request: web.Request) -> web.StreamResponse:
    """Answer with vectors that begin with the length of each text."""
    body: dict[str, Any] = msgspec.json.decode(await request.read())
    texts: list[str] = body["input"]
    rows = [{"index": n, "embedding": [len(text), 0.1]} for n, text in enumerate(texts)]
    return web.json_response({"data": rows, "model": "e-1", "usage": {"prompt_tokens": len(texts)}})


async def kept(client: PlainClient) -> Mapping[str, str]:
    """Return the headers of the stored record, once it is there."""
    stream = client.nats.jetstream()
    with anyio.fail_after(10):
        while True:
            with suppress(NotFoundError):
                return (await stream.get_last_msg(RECORDS, "cb.local.record.e1")).headers or {}
            await anyio.sleep(0.05)


async def test_an_embedding_is_an_execution_that_answers_with_its_vectors(tmp_path: Path):
    async with (
        fake_provider(lengths) as fake,
        running_fleet(tmp_path) as fleet,
        fleet.client() as client,
    ):
        ends = await client.nats.subscribe("cb.local.events.execution.completed.e1")
        provider = Custom(model="m", base_url=fake.base_url)
        wanted = Embed(provider=provider, texts=["a", "bb", "ccc"], user="ann", id="e1")
        found = await client.ask("llm.embed", encode(wanted), timeout=20)
        part = msgspec.structs.replace(wanted, offset=1, limit=1)
        again = await client.ask("llm.embed", encode(part), timeout=20)
        other = msgspec.structs.replace(wanted, texts=["z"])
        conflict = await client.ask("llm.embed", encode(other), timeout=20)
        lacking = Embed(provider=Anthropic(model="claude"), texts=["a"])
        refused = await client.ask("llm.embed", encode(lacking), timeout=20)
        record = await client.ask("executions.get", encode(GetExecution(execution_id="e1")))
        listed = await client.ask("executions.list", encode(ListExecutions()))
        event = msgspec.json.decode((await ends.next_msg(5)).data)
        stored = await kept(client)

    assert found["vectors"] == [[1, 0.1], [2, 0.1], [3, 0.1]]
    assert (found["dimensions"], found["model_served"], found["usage"]["input"]) == (2, "e-1", 3)
    assert (found["execution_id"], found["next"]) == ("e1", None)
    assert (again["vectors"], again["next"]) == ([[2, 0.1]], 2)
    assert (conflict["code"], refused["code"], refused["field"]) == (
        "conflict",
        "validation",
        "provider",
    )
    assert (record["kind"], record["status"], record["user"]) == ("embed", "COMPLETED", "ann")
    assert (record["task"], record["output"], record["vectors"]["count"]) == ("", None, 3)
    assert (event["kind"], event["tokens_used"]) == ("embed", 3)
    assert (listed["total"], len(fake.bodies)) == (0, 1)
    assert stored["Nats-TTL"] == f"{RETENTION_SECONDS}s"


async def test_many_texts_are_not_journalled_and_a_request_can_be_called_off(tmp_path: Path):
    answers = list[dict[str, Any]]()
    texts = ["x" * 100] * 2048

    async with (
        fake_provider(in_turn(never_beginning, *[lengths] * 9)) as fake,
        running_fleet(tmp_path) as fleet,
        fleet.client() as client,
    ):
        provider = Custom(model="m", base_url=fake.base_url)

        async def ask(name: str, texts: list[str]) -> None:
            wanted = Embed(provider=provider, texts=texts, id=name)
            answers.append(await client.ask("llm.embed", encode(wanted), timeout=20))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask, "e1", ["a" * 40])
            with anyio.fail_after(10):
                while not fake.bodies:
                    await anyio.sleep(0.01)
            await client.ask("executions.cancel", encode(CancelExecution(execution_id="e1")))
        await ask("e2", texts)
        look = GetExecution(execution_id="e1")
        with anyio.fail_after(10):
            while not (called_off := await client.ask("executions.get", encode(look)))["usage"]:
                await anyio.sleep(0.05)
        journal = await client.nats.jetstream().stream_info(journal_stream("execution"))

    cancelled, found = answers
    assert (cancelled["code"], called_off["status"]) == ("cancelled", "CANCELLED")
    assert (called_off["usage"]["input"], called_off["usage"]["quality"]) == (10, "estimated")
    assert found["vectors"] == [[100, 0.1]] * 2048
    assert sorted(len(body["input"]) for body in fake.bodies) == [1, *[256] * 8]
    assert journal.state.bytes < 32 * 1024

"""OpenAI's and Anthropic's batch APIs on this machine, as far as Callboard speaks them."""

import itertools
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import msgspec
from aiohttp import web

_FILE = re.compile(rb"application/jsonl\r\n\r\n(?P<lines>.*)\r\n--", re.DOTALL)


@dataclass
class Batch:
    """One batch: its requests by custom id, and how it stands."""

    requests: dict[str, dict[str, Any]]
    endpoint: str
    key: str
    status: str = "in_progress"
    failing: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass
class BatchProvider:
    """What a test sees of the server and may change; batches end when ``finish`` says so.

    ``creating`` holds the answers to the next requests to make a batch, as statuses: None makes the
    batch and breaks the connection, so that whoever asked cannot know; bytes are an answer under a
    status of success. ``asked`` is set when a batch is to be made, which ``goes_on`` lets happen.
    ``contents`` are the next files in the place of results; ``before`` and ``behind`` stand around
    these. Each result is written as many ``times``. ``names`` are what the next batches are
    called in the answer.
    """

    base_url: str = ""
    batches: dict[str, Batch] = field(default_factory=dict[str, Batch])
    files: dict[str, bytes] = field(default_factory=dict[str, bytes])
    creating: list[int | bytes | None] = field(default_factory=list[int | bytes | None])
    asked: anyio.Event = field(default_factory=anyio.Event)
    goes_on: anyio.Event | None = None
    contents: list[bytes] = field(default_factory=list[bytes])
    before: bytes = b""
    behind: bytes = b""
    looks: int = 0
    times: int = 1
    names: list[str] = field(default_factory=list[str])
    ids: Any = field(default_factory=itertools.count)

    def finish(self, status: str = "completed") -> None:
        """End all batches."""
        for batch in self.batches.values():
            batch.status = status

    async def until(self, batches: int) -> None:
        """Wait until so many batches have been made."""
        while len(self.batches) < batches:
            await anyio.sleep(0.01)


def text_of(body: Mapping[str, Any]) -> str:
    """Return what the model of this machine answers: the last word of the prompt, loudly."""
    messages: list[Mapping[str, Any]] = body.get("messages") or body["input"]
    content: Any = messages[-1]["content"]
    said = content if isinstance(content, str) else content[-1]["text"]
    return str(said).split()[-1].upper()


def chat_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole answer of Chat Completions."""
    message = {"role": "assistant", "content": text_of(body)}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": body["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    }


def message_answer(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole answer of Messages."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [{"type": "text", "text": text_of(body)}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 1000, "output_tokens": 100},
    }


@asynccontextmanager
async def batch_provider() -> AsyncGenerator[BatchProvider]:
    """Serve on a free loopback port."""
    fake = BatchProvider()
    routes = _Routes(fake)
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.add_routes(
        [
            web.post("/v1/files", routes.upload),
            web.get("/v1/files/{name}/content", routes.content),
            web.post("/v1/batches", routes.create),
            web.get("/v1/batches/{batch}", routes.look),
            web.post("/v1/batches/{batch}/cancel", routes.cancel),
            web.post("/v1/messages/batches", routes.create_messages),
            web.get("/v1/messages/batches/{batch}", routes.look_messages),
            web.get("/v1/messages/batches/{batch}/results", routes.results),
            web.post("/v1/messages/batches/{batch}/cancel", routes.cancel_messages),
        ]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        fake.base_url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        yield fake
    finally:
        await runner.cleanup()


class _Routes:
    def __init__(self, fake: BatchProvider) -> None:
        self._fake = fake

    # OpenAI

    async def upload(self, request: web.Request) -> web.Response:
        found = _FILE.search(await request.read())
        assert found
        name = f"file-{next(self._fake.ids)}"
        self._fake.files[name] = found["lines"]
        return web.json_response({"id": name, "object": "file", "purpose": "batch"})

    async def content(self, request: web.Request) -> web.Response:
        return self._file(self._fake.files[request.match_info["name"]])

    def _file(self, body: bytes) -> web.Response:
        if self._fake.contents:
            return web.Response(body=self._fake.contents.pop(0))
        return web.Response(body=self._fake.before + body + self._fake.behind)

    async def create(self, request: web.Request) -> web.StreamResponse:
        wanted: Any = msgspec.json.decode(await request.read())
        assert wanted["completion_window"] == "24h"
        lines = self._fake.files[wanted["input_file_id"]].splitlines()
        rows: list[Any] = [msgspec.json.decode(line) for line in lines]
        assert {row["url"] for row in rows} == {wanted["endpoint"]}
        requests = {row["custom_id"]: row["body"] for row in rows}
        return await self._made(request, requests, wanted["endpoint"], "authorization")

    async def look(self, request: web.Request) -> web.Response:
        name, batch = self._found(request, "authorization")
        self._fake.looks += 1
        told = {"id": name, "status": batch.status, "output_file_id": None, "errors": None}
        if batch.status == "completed":
            output = f"output-{name}"
            self._fake.files[output] = self._output(batch)
            told["output_file_id"] = output
        return web.json_response(told)

    async def cancel(self, request: web.Request) -> web.Response:
        name, batch = self._found(request, "authorization")
        batch.status = "cancelled"
        return web.json_response({"id": name, "status": "cancelling"})

    def _output(self, batch: Batch) -> bytes:
        lines: list[Any] = []
        for name, body in reversed(batch.requests.items()):
            status, answer = 200, chat_answer(body)
            if name in batch.failing:
                status, answer = 400, {"error": batch.failing[name]}
            response = {"status_code": status, "request_id": "r", "body": answer}
            lines.append({"id": "b", "custom_id": name, "response": response, "error": None})
        return b"\n".join(map(msgspec.json.encode, lines * self._fake.times)) + b"\n"

    # Anthropic

    async def create_messages(self, request: web.Request) -> web.StreamResponse:
        wanted: Any = msgspec.json.decode(await request.read())
        requests = {each["custom_id"]: each["params"] for each in wanted["requests"]}
        return await self._made(request, requests, "messages", "x-api-key")

    async def look_messages(self, request: web.Request) -> web.Response:
        name, batch = self._found(request, "x-api-key")
        self._fake.looks += 1
        status = "in_progress" if batch.status == "in_progress" else "ended"
        return web.json_response(
            {"id": name, "processing_status": status, "results_url": "http://192.0.2.1/x"}
        )

    async def results(self, request: web.Request) -> web.Response:
        _, batch = self._found(request, "x-api-key")
        lines: list[Any] = []
        for name, body in reversed(batch.requests.items()):
            result: Any = {"type": "succeeded", "message": message_answer(body)}
            if batch.status != "completed":
                result = {"type": batch.status}
            if name in batch.failing:
                error = {"type": "error", "error": batch.failing[name]}
                result = {"type": "errored", "error": error}
            lines.append({"custom_id": name, "result": result})
        return self._file(b"\n".join(map(msgspec.json.encode, lines * self._fake.times)) + b"\n")

    async def cancel_messages(self, request: web.Request) -> web.Response:
        name, batch = self._found(request, "x-api-key")
        batch.status = "canceled"
        return web.json_response({"id": name, "processing_status": "canceling"})

    # Both

    async def _made(
        self, request: web.Request, requests: dict[str, Any], endpoint: str, header: str
    ) -> web.StreamResponse:
        assert all("stream" not in body for body in requests.values())
        self._fake.asked.set()
        if self._fake.goes_on is not None:
            await self._fake.goes_on.wait()
        status = self._fake.creating.pop(0) if self._fake.creating else 200
        if isinstance(status, bytes):
            return web.Response(body=status, content_type="application/json")
        if status is not None and status != 200:
            return web.json_response({"error": {"message": "no"}}, status=status)
        name = f"batch_{next(self._fake.ids)}"
        self._fake.batches[name] = Batch(requests, endpoint, request.headers[header])
        if status is None and request.transport is not None:
            request.transport.abort()
        told = self._fake.names.pop(0) if self._fake.names else name
        return web.json_response({"id": told, "status": "validating"})

    def _found(self, request: web.Request, header: str) -> tuple[str, Batch]:
        """A batch is known to nobody but the key that has made it."""
        name = request.match_info["batch"]
        batch = self._fake.batches.get(name)
        if batch is None or batch.key != request.headers[header]:
            raise web.HTTPNotFound
        return name, batch

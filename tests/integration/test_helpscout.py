"""The example server for Help Scout asks the real API's paths, with its tokens and its limits."""

import importlib
import os
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import httpx
import msgspec
import pytest
from aiohttp import web
from mcp import StdioServerParameters
from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from tests.architecture.tree import ROOT
from tests.mcp.servers import listening
from tests.mcp.upstreams import HelpDesk, Upstream, upstream

FOLDER = ROOT / "deploy" / "examples" / "helpscout"

CONVERSATION = {
    "id": 7,
    "number": 70,
    "subject": "Broken lamp",
    "status": "active",
    "mailboxId": 3,
    "primaryCustomer": {"id": 21, "first": "Ann", "email": "ann@example.com", "photoUrl": "x"},
    "tags": [{"id": 1, "tag": "lamp", "color": "red"}],
}
ANN = {"id": 21, "firstName": "Ann", "_embedded": {"emails": [{"id": 1, "value": "ann@x.com"}]}}


def _paged(name: str, *pages: list[Any]) -> list[dict[str, Any]]:
    return [
        {
            "_embedded": {name: rows},
            "page": {"number": place, "totalPages": len(pages), "totalElements": 9},
        }
        for place, rows in enumerate(pages, start=1)
    ]


def _thread(number: int, kind: str, body: str) -> dict[str, Any]:
    at = f"2026-11-0{number}T10:00:00Z"
    return {"id": number, "type": kind, "createdAt": at, "body": body, "createdBy": {"id": 21}}


@pytest.fixture
def desk() -> HelpDesk:
    return HelpDesk(
        {
            "/v2/conversations": _paged("conversations", [CONVERSATION]),
            "/v2/conversations/7": CONVERSATION,
            "/v2/conversations/7/threads": _paged(
                "threads",
                [_thread(4, "message", "We sent <b>another</b> one.<br>Sorry!")],
                [_thread(1, "customer", "<p>It is broken.</p>"), _thread(2, "lineitem", "")],
                [_thread(3, "customer", "y" * 9000)],
            ),
            "/v2/customers": _paged("customers", [ANN]),
            "/v2/customers/21": ANN,
            "/v2/mailboxes": _paged("mailboxes", [{"id": 3, "name": "Help"}], [{"id": 4}]),
            "/v1/search/articles": {
                "articles": {"pages": 2, "items": [{"id": "a", "name": "Lamps", "x": 1}]}
            },
        }
    )


@asynccontextmanager
async def _opened(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch, **account: str
) -> AsyncGenerator[tuple[Client, Upstream]]:
    """Run the server in this process, before the played API."""
    monkeypatch.syspath_prepend(str(FOLDER))
    api = importlib.import_module("helpscout_api")
    tools = importlib.import_module("helpscout_tools")
    async with upstream(desk) as seen, httpx.AsyncClient(timeout=5) as http:
        known = {
            "app_id": "app",
            "app_secret": "app-secret",
            "base_url": f"{seen.url}/v2",
            "docs_url": f"{seen.url}/v1",
            "docs_key": "docs",
        }
        account = {**known, **account}
        async with Client(tools.server(api.HelpScout(api.Account(**account), http))) as client:
            with anyio.fail_after(20):
                yield client, seen


def _text(result: CallToolResult) -> str:
    assert isinstance(result.content[0], TextContent)
    return result.content[0].text


def _queries(seen: Upstream) -> dict[str, list[str]]:
    return parse_qs(urlsplit(seen.asked[-1].partition(" ")[2]).query)


async def test_a_search_asks_what_was_wanted_and_tells_what_matters(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch) as (client, seen):
        arguments = {"query": 'the "lamp"', "status": "active", "inbox_id": 3, "tag": "lamp"}
        result = await client.call_tool("searchConversations", arguments)
        asked = _queries(seen)
        await client.call_tool("searchConversations", {"query": '(email:"a@b.c")'})
        given = _queries(seen)["query"]

    assert asked == {
        "query": ['(subject:"the \\"lamp\\"" OR body:"the \\"lamp\\"")'],
        "status": ["active"],
        "mailbox": ["3"],
        "tag": ["lamp"],
        "page": ["1"],
        "sortField": ["modifiedAt"],
        "sortOrder": ["desc"],
    }
    assert given == ['(email:"a@b.c")']
    assert result.structured_content == {
        "conversations": [
            {
                "id": 7,
                "number": 70,
                "subject": "Broken lamp",
                "status": "active",
                "mailboxId": 3,
                "customer": {"id": 21, "first": "Ann", "email": "ann@example.com"},
                "assignee": {},
                "tags": ["lamp"],
            }
        ],
        "page": 1,
        "pages": 1,
        "total": 9,
    }


async def test_all_pages_of_a_conversation_are_read_as_plain_text(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch) as (client, _):
        read = (await client.call_tool("getThreads", {"conversation_id": 7})).structured_content
        told = await client.call_tool("getConversationSummary", {"conversation_id": 7})
    threads = read["threads"]

    assert [one["id"] for one in threads] == [4, 3, 2, 1]
    assert threads[0]["text"] == "We sent another one.\nSorry!"
    assert (len(threads[1]["text"]), threads[1]["truncated"]) == (8000, True)
    summary = told.structured_content
    assert summary["firstFromCustomer"]["text"] == "It is broken."
    assert (summary["latestFromCustomer"]["id"], summary["latestReply"]["id"]) == (3, 4)
    assert summary["messages"] == 3


async def test_customers_inboxes_and_articles_are_found(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch) as (client, seen):
        by_mail = await client.call_tool("searchCustomersByEmail", {"email": "ann@x.com"})
        asked = _queries(seen)["query"]
        customer = await client.call_tool("getCustomer", {"customer_id": 21})
        inboxes = await client.call_tool("listAllInboxes", {})
        articles = await client.call_tool("searchDocsArticles", {"query": "lamp"})
        basic = seen.authorizations[-1]

    assert asked == ['(email:"ann@x.com")']
    assert by_mail.structured_content["customers"] == [customer.structured_content]
    assert customer.structured_content["emails"] == ["ann@x.com"]
    assert [one["id"] for one in inboxes.structured_content["inboxes"]] == [3, 4]
    assert articles.structured_content == {
        "articles": [{"id": "a", "name": "Lamps"}],
        "page": 1,
        "pages": 2,
    }
    assert basic == httpx.BasicAuth("docs", "X")._auth_header


async def test_what_an_agent_writes_goes_to_the_right_place(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch) as (client, seen):
        arguments = {"conversation_id": 7, "text": "Sorry", "draft": False, "status": "pending"}
        reply = await client.call_tool("createReply", arguments)
        await client.call_tool("createNote", {"conversation_id": 7, "text": "VIP"})
        changes = {"conversation_id": 7, "status": "closed"}
        await client.call_tool("updateConversationStatus", changes)
        unknown = {"conversation_id": 7, "status": "gone"}
        refused = await client.call_tool("updateConversationStatus", unknown)

    assert reply.structured_content == {"id": "901"}
    assert seen.asked[2:] == [
        "POST /v2/conversations/7/reply",
        "POST /v2/conversations/7/notes",
        "PATCH /v2/conversations/7",
    ]
    assert [msgspec.json.decode(body) for body in seen.bodies[2:]] == [
        {"customer": {"id": 21}, "text": "Sorry", "draft": False, "status": "pending"},
        {"text": "VIP"},
        {"op": "replace", "path": "/status", "value": "closed"},
    ]
    assert refused.is_error


async def test_one_token_serves_all_calls_and_a_revoked_one_is_renewed_once(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch) as (client, seen):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(client.call_tool, "getCustomer", {"customer_id": 21})
        first = list(desk.tokens)
        desk.revoked.add("token-1")
        renewed = await client.call_tool("getCustomer", {"customer_id": 21})

    assert first == ["token-1"]
    assert desk.tokens == ["token-1", "token-2"]
    assert not renewed.is_error
    assert "app-secret" not in " ".join(seen.asked)


async def test_a_token_is_renewed_before_it_ends(desk: HelpDesk, monkeypatch: pytest.MonkeyPatch):
    async with _opened(desk, monkeypatch) as (client, _):
        await client.call_tool("getCustomer", {"customer_id": 21})
        later = anyio.current_time() + 172_800 - 30
        monkeypatch.setattr("helpscout_api.anyio.current_time", lambda: later)
        await client.call_tool("getCustomer", {"customer_id": 21})
        monkeypatch.undo()

    assert desk.tokens == ["token-1", "token-2"]


@pytest.mark.parametrize("header", ["X-RateLimit-Retry-After", "Retry-After"])
async def test_a_short_limit_is_waited_for_and_a_long_one_is_told(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch, header: str
):
    async with _opened(desk, monkeypatch) as (client, seen):
        desk.before = [web.Response(status=429, headers={header: "0"})]
        waited = await client.call_tool("createNote", {"conversation_id": 7, "text": "n"})
        desk.before = [web.Response(status=429, headers={header: "40"})]
        told = await client.call_tool("createNote", {"conversation_id": 7, "text": "n"})

    assert not waited.is_error
    assert "rate_limited: note: Help Scout answers 429; ask again in 40 s" in _text(told)
    assert len(seen.asked) == 4


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "not_found"), (403, "forbidden"), (400, "validation"), (503, "unavailable")],
)
async def test_a_refusal_is_typed_and_repeats_nothing_of_the_answer(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch, status: int, said: str
):
    async with _opened(desk, monkeypatch) as (client, seen):
        desk.before = [web.json_response({"message": "leaked"}, status=status)]
        result = await client.call_tool("createNote", {"conversation_id": 7, "text": "n"})
        calls = len(seen.asked)

    assert result.is_error
    assert f"{said}: note" in _text(result)
    assert "leaked" not in _text(result)
    assert calls == 2


async def test_an_unknown_application_and_a_missing_key_are_said(
    desk: HelpDesk, monkeypatch: pytest.MonkeyPatch
):
    async with _opened(desk, monkeypatch, app_secret="wrong", docs_key="") as (client, seen):
        stranger = await client.call_tool("listAllInboxes", {})
        keyless = await client.call_tool("searchDocsArticles", {"query": "lamp"})
        asked = list(seen.asked)

    assert "forbidden: Help Scout does not know this application" in _text(stranger)
    assert "unauthorized: this server has no key" in _text(keyless)
    assert asked == ["POST /v2/oauth2/token"]


async def test_hints_are_true(desk: HelpDesk, monkeypatch: pytest.MonkeyPatch):
    async with _opened(desk, monkeypatch) as (client, _):
        tools = {tool.name: tool.annotations for tool in (await client.list_tools()).tools}

    reading = {name for name, hints in tools.items() if hints and hints.read_only_hint}
    repeatable = {name for name, hints in tools.items() if hints and hints.idempotent_hint}
    assert set(tools) - reading == {"createReply", "createNote", "updateConversationStatus"}
    assert repeatable == {"updateConversationStatus"}


@pytest.mark.parametrize("way", ["stdio", "http"])
async def test_it_is_served_over_both_transports(desk: HelpDesk, way: str):
    async with upstream(desk) as seen:
        environ = {
            "HELPSCOUT_APP_ID": "app",
            "HELPSCOUT_APP_SECRET": "app-secret",
            "HELPSCOUT_BASE_URL": f"{seen.url}/v2",
        }
        with anyio.fail_after(30):
            async with _process(way, environ) as target, Client(target) as client:
                result = await client.call_tool("getCustomer", {"customer_id": 21})

    assert result.structured_content["firstName"] == "Ann"


@asynccontextmanager
async def _process(way: str, environ: dict[str, str]) -> AsyncGenerator[Any]:
    script = str(FOLDER / "server.py")
    if way == "stdio":
        yield StdioServerParameters(command=sys.executable, args=[script], env=environ)
        return
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, script, "--http", str(port)]
    async with await anyio.open_process(command, env={**os.environ, **environ}) as process:
        try:
            await listening(port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()

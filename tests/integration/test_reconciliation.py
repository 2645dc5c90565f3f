"""Our ledger beside what providers count: servers play the documented shapes."""

import json
import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web

from actors.pricing.adapters import admin_api
from actors.pricing.adapters.anthropic_usage import AnthropicUsage
from actors.pricing.adapters.openai_usage import OpenAiUsage
from actors.pricing.core.periods import TimeSpan
from actors.pricing.core.reconciliation import TimeSlot
from bus.config.settings import Secret
from bus.errors import ProblemError
from bus.testing import NatsWorld
from schemas.usage import Usage
from tests.charges import charge, charged
from tests.integration.test_cost_reports import Desk, pricing_desk

KEY = "sk-admin-very-secret"
DAYS = [datetime(2026, 3, day, tzinfo=UTC) for day in (27, 28)]
SPAN = TimeSpan(DAYS[0], DAYS[1] + timedelta(days=1))


class FakeAdmin:
    """Plays lists of buckets, one a page, and notes what it was asked. ``failures`` come first."""

    def __init__(self, lists: Mapping[str, list[Any]]) -> None:
        self.lists = lists
        self.failures: list[web.Response] = []
        self.queries: list[list[tuple[str, str]]] = []
        self.keys: set[str] = set()
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.queries.append(list(request.query.items()))
        self.keys.add(request.headers.get("x-api-key") or request.headers["authorization"])
        if self.failures:
            return self.failures.pop(0)
        buckets = self.lists[request.path]
        place = int(request.query.get("page", "page_0").removeprefix("page_"))
        more = place + 1 < len(buckets)
        return web.json_response(
            {
                "object": "page",
                "data": buckets[place : place + 1],
                "has_more": more,
                "next_page": f"page_{place + 1}" if more else None,
            }
        )


@asynccontextmanager
async def playing(lists: Mapping[str, list[Any]]) -> AsyncGenerator[FakeAdmin]:
    fake, app = FakeAdmin(lists), web.Application()
    app.router.add_get("/{path:.*}", fake.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield fake
    finally:
        await runner.cleanup()


def openai_day(at: datetime, *results: dict[str, Any]) -> dict[str, Any]:
    return {
        "object": "bucket",
        "start_time": int(at.timestamp()),
        "end_time": int(at.timestamp()) + 86_400,
        "results": [
            {
                "object": "organization.usage.completions.result",
                "input_audio_tokens": 0,
                "output_audio_tokens": 0,
                "project_id": None,
                "user_id": None,
                "api_key_id": None,
                "batch": False,
                "service_tier": "default",
            }
            | result
            for result in results
        ],
    }


def openai_cost(at: datetime, value: float) -> dict[str, Any]:
    amount = {"value": value, "currency": "usd"}
    result = {"object": "organization.costs.result", "amount": amount, "line_item": None}
    return {"object": "bucket", "start_time": int(at.timestamp()), "results": [result]}


def anthropic_day(at: datetime, *results: dict[str, Any]) -> dict[str, Any]:
    return {
        "starting_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "ending_at": f"{at + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}",
        "results": list(results),
    }


OPENAI = {
    "/organization/usage/completions": [
        openai_day(
            DAYS[0],
            {
                "model": "gpt-4o-2024-08-06",
                "input_tokens": 1000,
                "input_cached_tokens": 400,
                "output_tokens": 50,
                "num_model_requests": 2,
                "api_key_id": "key_1",
            },
        ),
        openai_day(
            DAYS[1],
            {
                "model": "gpt-4o-2024-08-06",
                "input_tokens": 70,
                "input_cached_tokens": 0,
                "output_tokens": 7,
                "num_model_requests": 1,
                "batch": True,
                "api_key_id": "key_2",
            },
        ),
    ],
    "/organization/costs": [openai_cost(DAYS[0], 0.06), openai_cost(DAYS[1], 0.1)],
}

ANTHROPIC = {
    "/organizations/usage_report/messages": [
        anthropic_day(
            DAYS[0],
            {
                "uncached_input_tokens": 1500,
                "cache_creation": {
                    "ephemeral_1h_input_tokens": 1000,
                    "ephemeral_5m_input_tokens": 500,
                },
                "cache_read_input_tokens": 200,
                "output_tokens": 500,
                "server_tool_use": {"web_search_requests": 10},
                "api_key_id": None,
                "workspace_id": None,
                "model": "claude-sonnet-4-5-20250929",
                "service_tier": "standard",
                "context_window": None,
            },
        ),
        anthropic_day(DAYS[1]),
    ],
    "/organizations/cost_report": [
        anthropic_day(DAYS[0], {"amount": "123.78912", "currency": "USD", "description": None}),
        anthropic_day(DAYS[1]),
    ],
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_api, "PAUSES_SECONDS", (0.01, 0.01))


async def test_openai_is_asked_page_by_page_and_grouped_by_what_prices_depend_on():
    async with playing(OPENAI) as fake, httpx.AsyncClient() as client:
        usage = OpenAiUsage(client, Secret(KEY), {"key_1": "main"}, fake.url)
        counts, costs = await usage.counts(SPAN), await usage.costs(SPAN)

    assert counts == [
        (
            TimeSlot("2026-03-27", "main", "gpt-4o-2024-08-06", "standard"),
            {"prompt": 1000, "cache_read": 400, "output": 50, "calls": 2},
        ),
        (
            TimeSlot("2026-03-28", "key_2", "gpt-4o-2024-08-06", "batch"),
            {"prompt": 70, "cache_read": 0, "output": 7, "calls": 1},
        ),
    ]
    assert costs == {"2026-03-27": 60_000_000_000, "2026-03-28": 100_000_000_000}
    assert fake.queries[0] == [
        ("start_time", "1774569600"),
        ("end_time", "1774742400"),
        ("bucket_width", "1d"),
        ("limit", "31"),
        ("group_by", "model"),
        ("group_by", "batch"),
        ("group_by", "service_tier"),
        ("group_by", "api_key_id"),
    ]
    assert [dict(query).get("page") for query in fake.queries] == [None, "page_1", None, "page_1"]
    assert fake.keys == {f"Bearer {KEY}"}


async def test_anthropic_is_asked_page_by_page_and_its_cents_are_read_exactly():
    async with playing(ANTHROPIC) as fake, httpx.AsyncClient() as client:
        usage = AnthropicUsage(client, Secret(KEY), {}, fake.url)
        counts, costs = await usage.counts(SPAN), await usage.costs(SPAN)

    assert counts == [
        (
            TimeSlot("2026-03-27", None, "claude-sonnet-4-5-20250929", "standard"),
            {
                "input": 1500,
                "cache_read": 200,
                "cache_write_5m": 500,
                "cache_write_1h": 1000,
                "output": 500,
                "searches": 10,
            },
        )
    ]
    assert costs == {"2026-03-27": 1_237_891_200_000, "2026-03-28": 0}
    assert ("starting_at", "2026-03-27T00:00:00Z") in fake.queries[0]
    assert ("group_by[]", "service_tier") in fake.queries[0]
    assert fake.keys == {KEY}


async def test_a_provider_that_is_busy_or_broken_for_a_moment_is_asked_again():
    async with playing(OPENAI) as fake, httpx.AsyncClient() as client:
        fake.failures = [
            web.Response(status=429, headers={"retry-after": "0"}),
            web.Response(status=503, headers={"retry-after": "soon"}),
        ]
        assert len(await OpenAiUsage(client, Secret(KEY), {}, fake.url).counts(SPAN)) == 2


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (web.Response(status=401, text=KEY), "unauthorized"),
        (web.Response(status=403), "unauthorized"),
        (web.Response(status=404), "provider_error"),
        (web.Response(status=302, headers={"location": "https://example.com"}), "provider_error"),
        (web.Response(text="<html>"), "provider_error"),
        (web.Response(text='{"data": [{"start_time": "x"}]}'), "provider_error"),
    ],
    ids=str,
)
async def test_a_refusal_is_told_without_the_key(failure: web.Response, code: str):
    async with playing(OPENAI) as fake, httpx.AsyncClient() as client:
        fake.failures = [failure]
        with pytest.raises(ProblemError) as refused:
            await OpenAiUsage(client, Secret(KEY), {}, fake.url).counts(SPAN)

    assert refused.value.problem.code == code
    assert KEY not in str(refused.value)


async def test_a_provider_that_stays_busy_or_is_not_there_is_told():
    async with playing(OPENAI) as fake, httpx.AsyncClient() as client:
        fake.failures = [web.Response(status=429) for _ in range(3)]
        with pytest.raises(ProblemError, match="rate_limited"):
            await OpenAiUsage(client, Secret(KEY), {}, fake.url).counts(SPAN)
    async with httpx.AsyncClient() as client:
        with pytest.raises(ProblemError, match="unavailable") as refused:
            await OpenAiUsage(client, Secret(KEY), {}, fake.url).counts(SPAN)
    assert KEY not in str(refused.value)


async def test_the_command_says_what_differs_and_nothing_where_all_agree(
    own_nats: NatsWorld, tmp_path: Path
):
    async with pricing_desk(own_nats, tmp_path) as desk, playing(OPENAI) as fake:
        await _spend(desk)
        arguments = ("costs", "reconcile", "openai", "--since", "2026-03-27", "--until")
        arguments += ("2026-03-29", "--base-url", fake.url, "--json")
        key = {"OPENAI_ADMIN_KEY": KEY}
        agreed = await desk.type(*arguments, environment=key)
        fake.lists["/organization/usage/completions"][0]["results"][0]["output_tokens"] += 3
        try:
            differing = await desk.type(*arguments, environment=key, code=1)
        finally:
            fake.lists["/organization/usage/completions"][0]["results"][0]["output_tokens"] -= 3
        lacking = await desk.type(*arguments, environment={"OPENAI_ADMIN_KEY": ""}, code=78)

    assert json.loads(agreed)["differences"] == []
    assert json.loads(agreed)["costs"][0] == {
        "day": "2026-03-27",
        "ours": 2_000_000,
        "theirs": 60_000_000_000,
    }
    assert json.loads(differing)["differences"] == [
        [["2026-03-27", None, "gpt-4o-2024-08-06", "standard"], "output", 50, 53]
    ]
    assert "OPENAI_ADMIN_KEY" in lacking
    assert KEY not in agreed + differing


async def _spend(desk: Desk) -> None:
    served = {"model_served": "gpt-4o-2024-08-06", "model": "gpt-4o"}
    halves = [Usage(input=300, cache_read=200, output=25)] * 2
    first = [charge(usage=usage, tier="default", **served) for usage in halves]  # type: ignore[arg-type]
    batch = charge(usage=Usage(input=70, output=7), batch=True, **served)  # type: ignore[arg-type]
    await desk.ledger.write(0, [charged(*first, at=DAYS[0] + timedelta(hours=23))])
    await desk.ledger.write(0, [charged(batch, at=DAYS[1], execution="x2")])


@pytest.mark.parametrize(
    ("variable", "source"),
    [("OPENAI_ADMIN_KEY", OpenAiUsage), ("ANTHROPIC_ADMIN_KEY", AnthropicUsage)],
)
async def test_the_real_interface_answers_in_the_shape_we_read(
    variable: str, source: type[OpenAiUsage] | type[AnthropicUsage]
):
    key = os.environ.get(variable)
    if not key:
        pytest.skip(f"{variable} is not set")
    yesterday = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)  # noqa: TID251
    span = TimeSpan(yesterday - timedelta(days=1), yesterday)
    async with httpx.AsyncClient() as client:
        usage = source(client, Secret(key), {})
        assert all(counts for _, counts in await usage.counts(span))
        assert all(cost >= 0 for cost in (await usage.costs(span)).values())

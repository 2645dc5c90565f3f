"""The rate book in a running fleet: quoted, replaced while it runs, kept for good."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from click.testing import CliRunner

from actors.cli.commands import main as root
from actors.pricing.adapters.books import BookStore
from bus.connection import NatsAddress, connect
from bus.jetstream.bus import system_clock
from bus.kv import MemoryBucket, followed
from bus.kv.prices import BOOKS, PRICES, PricesInForce, shipped_text, stored_prices
from bus.streams.api import JetStream
from schemas.pricing.book import book_id, read
from schemas.pricing.prices import Priced, RateTerms
from schemas.quotes import CURRENT, Stored, StoredBook, packed
from schemas.usage import Usage
from tests.fleet import PlainClient, RunningFleet, running_fleet
from tests.price_lists import Sold, offer_file

SECONDS = 15

CONTRACT = """
name = "contract-2026"

[[rows]]
provider = "openai"
model = "gpt-4o"
usd = { input = 2, cache_read = 1, output = 8 }

[[rows]]
provider = "ourselves"
model = "house-model"
usd = { input = 0.5, output = 1 }
"""

USAGE = {"input": 1000, "output": 100}


@asynccontextmanager
async def pricing_fleet(directory: Path) -> AsyncGenerator[RunningFleet]:
    async with running_fleet(directory, agents=0, streaming=0) as fleet:
        await fleet.start("pricing.1")
        await fleet.ready(1)
        yield fleet


@pytest.fixture(scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[RunningFleet]:
    """A fleet whose prices nobody changes."""
    async with pricing_fleet(tmp_path_factory.mktemp("fleet")) as fleet:
        yield fleet


@pytest.fixture
async def own_fleet(tmp_path: Path) -> AsyncGenerator[RunningFleet]:
    async with pricing_fleet(tmp_path) as fleet:
        yield fleet


async def quote(client: PlainClient, **wanted: Any) -> Any:
    return await client.ask("pricing.quote", {"usage": USAGE, **wanted})


async def run_callboard(fleet: RunningFleet, *arguments: str) -> str:
    def run() -> str:
        result = CliRunner().invoke(root, ["--url", fleet.server.url, *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    return await anyio.to_thread.run_sync(run)


async def test_a_quote_tells_the_cost_its_lines_and_where_they_come_from(fleet: RunningFleet):
    async with fleet.client() as client:
        answer = await quote(client, provider="openai", model="gpt-4o-2024-08-06")

    assert answer == {
        "type": "price_quote",
        "cost_pico": 3_500_000_000,
        "lines": [
            {
                "bucket": "input",
                "tokens": 1000,
                "rate_pico": 2_500_000,
                "cost_pico": 2_500_000_000,
            },
            {
                "bucket": "output",
                "tokens": 100,
                "rate_pico": 10_000_000,
                "cost_pico": 1_000_000_000,
            },
        ],
        "book_id": book_id(shipped_text()),
        "row": "openai/gpt-4o",
        "resolved_from": "gpt-4o-2024-08-06",
        "variant": "",
        "tier_from": 0,
        "disputed": False,
    }


async def test_prices_are_those_of_a_moment_a_tier_and_a_book(fleet: RunningFleet):
    async with fleet.client() as client:
        before = await quote(client, provider="openai", model="o3", at="2025-06-09T23:59:59Z")
        after = await quote(client, provider="openai", model="o3", at="2025-06-10T00:00:00Z")
        batch = await quote(client, provider="openai", model="gpt-4o", batch=True)
        named = [
            await quote(client, provider=provider, model=model, book="source-2025-10")
            for provider, model in (
                ("openai", "gpt-4"),
                ("anthropic", "claude-3-opus"),
                ("groq", "llama3-70b"),
            )
        ]

    assert (before["cost_pico"], after["cost_pico"]) == (14_000_000_000, 2_800_000_000)
    assert (batch["cost_pico"], batch["variant"]) == (1_750_000_000, "batch")
    assert [answer["cost_pico"] for answer in named] == [
        36_000_000_000,
        22_500_000_000,
        880_000_000,
    ]


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"provider": "openai", "model": "gpt-9"}, "unpriced"),
        ({"provider": "openai", "model": "gpt-4", "service_tier": "flex"}, "unpriced"),
        ({"provider": "openai", "model": "gpt-4", "usage": {"cache_read": 1}}, "unpriced"),
        ({"provider": "openai", "model": "gpt-4", "usage": {"reasoning": 1}}, "validation"),
        ({"provider": "openai", "model": "gpt-4", "usage": {"input": -1}}, "validation"),
        ({"provider": "openai", "model": "gpt-4", "at": "2026-01-01T00:00:00"}, "validation"),
        ({"provider": "openai", "model": "gpt-4", "book": "nonesuch"}, "not_found"),
    ],
)
async def test_what_cannot_be_priced_is_refused_and_never_free(
    fleet: RunningFleet, wanted: dict[str, Any], code: str
):
    async with fleet.client() as client:
        answer = await quote(client, **wanted)

    assert answer["code"] == code


async def test_rows_of_ones_own_are_in_force_at_once_and_older_prices_can_still_be_checked(
    own_fleet: RunningFleet, tmp_path: Path
):
    file = tmp_path / "contract.toml"
    file.write_text(CONTRACT, encoding="utf-8")
    shipped = book_id(shipped_text())

    told = await run_callboard(own_fleet, "prices", "import", str(file))

    async with own_fleet.client() as client:
        with anyio.fail_after(SECONDS):
            while True:
                ours = await quote(client, provider="openai", model="gpt-4o")
                if ours["book_id"] != shipped:
                    break
        own = await quote(client, provider="ourselves", model="house-model")
        older = await quote(client, provider="openai", model="gpt-4o", book=shipped)
        same = await quote(client, provider="openai", model="gpt-4o", book=ours["book_id"])

    assert ours["book_id"] in told
    assert (ours["cost_pico"], same["cost_pico"]) == (2_800_000_000, 2_800_000_000)
    assert own["cost_pico"] == 600_000_000
    assert older["cost_pico"] == 3_500_000_000


async def test_a_new_base_keeps_the_rows_of_ones_own_over_it(
    own_fleet: RunningFleet, tmp_path: Path
):
    file = tmp_path / "contract.toml"
    file.write_text(CONTRACT, encoding="utf-8")
    outdated = read(shipped_text().replace(b"2500000", b"2500001"))
    await run_callboard(own_fleet, "prices", "import", str(file))

    async with connect(NatsAddress(urls=tuple(own_fleet.server.urls), name="test")) as transport:
        store = BookStore(BOOKS.open(transport, JetStream(transport)), system_clock)
        before = await store.refresh(outdated)
        told = await run_callboard(own_fleet, "prices", "refresh")
        prices = await store.current()

    answer = prices.price(RateTerms("openai", "gpt-4o"), Usage(input=1), system_clock())
    assert isinstance(answer, Priced)
    assert answer.cost == 2_000_000
    assert before.book_id != prices.book_id
    assert f"book {prices.book_id} is in force" in told
    assert "contract-2026" in await run_callboard(own_fleet, "prices", "show", "house-model")


async def serve(request: web.Request) -> web.Response:
    usd = {"input_mtok": 1.5, "output_mtok": 7}
    models = [{"id": "gpt-4o", "match": {"equals": "gpt-4o"}, "prices": usd}]
    provider = {"id": "openai", "name": "O", "api_pattern": "openai", "models": models}
    known = request.path == "/data.json"
    return web.json_response([provider]) if known else web.Response(status=404)


async def test_a_refresh_from_a_url_shows_first_what_it_would_change_and_then_changes_it(
    own_fleet: RunningFleet, monkeypatch: pytest.MonkeyPatch
):
    async with hosted(serve) as base:
        url = f"{base}/data.json"
        monkeypatch.setenv("CALLBOARD_ALLOW_LOOPBACK", "false")
        closed = await failing(own_fleet, "prices", "refresh", url)
        monkeypatch.setenv("CALLBOARD_ALLOW_LOOPBACK", "true")
        missing = await failing(own_fleet, "prices", "refresh", f"{url}x")
        dry = await run_callboard(own_fleet, "prices", "refresh", url, "--dry-run")
        before = await run_callboard(own_fleet, "prices", "show", "gpt-4o", "--provider", "openai")
        told = await run_callboard(own_fleet, "prices", "refresh", url)
        after = await run_callboard(own_fleet, "prices", "show", "gpt-4o", "--provider", "openai")

    assert "closed to connections" in closed
    assert "status 404" in missing
    assert "openai/gpt-4o" in dry
    assert "in force" not in dry
    assert ("$1.5" in before, "$1.5" in after) == (False, True)
    assert "is in force" in told


async def test_a_refresh_from_a_price_list_of_aws_sets_what_bedrock_costs_in_a_region(
    own_fleet: RunningFleet, tmp_path: Path
):
    """The list is as long as real ones: three thousand products in each of five regions."""
    nova = ("Nova Lite", "EUW1-NovaLite-tokens", "eu-west-1")
    rest = [
        Sold("Future 9", f"x-{n}", "us-east-1", "1K tokens", "1", "Input") for n in range(15_000)
    ]
    kinds = [
        Sold(*nova, "1K tokens", "0.0000123", "Input tokens"),
        Sold(*nova, "1M tokens", "0.321", "Output tokens"),
        Sold("Future 9", "x", "us-east-1", "1K tokens", "1", "Input tokens"),
        *rest,
    ]
    file = tmp_path / "index.json"
    file.write_bytes(offer_file(*kinds))

    dry = await run_callboard(own_fleet, "prices", "refresh", str(file), "--dry-run")
    told = await run_callboard(own_fleet, "prices", "refresh", str(file))
    async with connect(NatsAddress(urls=tuple(own_fleet.server.urls), name="test")) as transport:
        prices = await BookStore(
            BOOKS.open(transport, JetStream(transport)), system_clock
        ).current()

    assert "output $0.321" in dry
    assert "1 models of AWS are not in the book: Future 9" in told
    assert "is in force" in told
    usage = Usage(input=1_000_000, output=1_000_000)
    for model in ("amazon.nova-lite-v1:0", "eu.amazon.nova-lite-v1:0"):
        terms = RateTerms("aws", model, region="eu-west-1")
        answer = prices.price(terms, usage, system_clock())
        assert isinstance(answer, Priced)
        assert (answer.cost, answer.row) == (333_300_000_000, f"aws/eu-west-1/{model}")


@asynccontextmanager
async def hosted(handle: Any) -> AsyncGenerator[str]:
    """Serve documents on a free loopback port."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def failing(fleet: RunningFleet, *arguments: str) -> str:
    def run() -> str:
        result = CliRunner().invoke(root, ["--url", fleet.server.url, *arguments])
        assert result.exit_code != 0, result.output
        return result.output

    return await anyio.to_thread.run_sync(run)


async def test_a_stored_book_that_cannot_be_read_changes_no_price():
    bucket: MemoryBucket[Stored] = MemoryBucket(Stored)  # pyright: ignore[reportArgumentType]
    in_force = PricesInForce()
    before = in_force.prices.book_id
    text = shipped_text().replace(b"2500000", b"2500001")
    stored = StoredBook(
        book_id=book_id(text), name="next", stored_at=system_clock(), packed=packed(text)
    )

    async with followed(bucket, PRICES.pattern, in_force, PRICES.what):
        for broken in (b"", packed(b"{}"), packed(shipped_text())):
            wrong = StoredBook(book_id="0" * 64, name="x", stored_at=system_clock(), packed=broken)
            entry = await bucket.get(CURRENT)
            await bucket.put(CURRENT, wrong, expected=entry.revision if entry else 0)
            assert in_force.prices.book_id == before
        entry = await bucket.get(CURRENT)
        revision = await bucket.put(CURRENT, stored, expected=entry.revision if entry else 0)
        assert in_force.prices.book_id == stored_prices(stored).book_id == book_id(text)
        await bucket.remove(CURRENT, expected=revision)
        assert in_force.prices.book_id == before

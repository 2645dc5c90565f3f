"""What Anthropic says was used and spent: ``usage_report/messages`` and ``cost_report``.

Counts come by day in UTC, in buckets that do not overlap. The amounts of ``cost_report`` are
decimal texts in cents. What the priority tier costs is not in it.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import httpx

from actors.pricing.adapters.admin_api import AdminApi, Parameters
from actors.pricing.core.periods import TimeSpan
from actors.pricing.core.reconciliation import (
    CACHED,
    OUTPUT,
    SEARCHES,
    UNCACHED,
    WRITTEN_1H,
    WRITTEN_5M,
    Counts,
    TimeSlot,
    tier_of,
)
from bus.config.settings import Secret
from schemas.base import Value
from schemas.pricing.units import PICO

BASE_URL = "https://api.anthropic.com/v1"
KEY = "ANTHROPIC_ADMIN_KEY"
VERSION = "2023-06-01"
CENTS = 100


class CacheCreation(Value):
    """Tokens written to caches, by the time these keep them."""

    ephemeral_5m_input_tokens: int = 0
    ephemeral_1h_input_tokens: int = 0


class ServerToolUse(Value):
    """What Anthropic's own tools did."""

    web_search_requests: int = 0


class Messages(Value):
    """The messages of a group within a bucket."""

    uncached_input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation: CacheCreation | None = None
    server_tool_use: ServerToolUse | None = None
    model: str | None = None
    api_key_id: str | None = None
    service_tier: str | None = None


class MessagesBucket(Value):
    """One day."""

    starting_at: datetime
    results: list[Messages]


class AnthropicCost(Value):
    """What one thing cost: cents, as a decimal text."""

    amount: Decimal


class AnthropicCostBucket(Value):
    """One day."""

    starting_at: datetime
    results: list[AnthropicCost]


class AnthropicUsage:
    """Asks Anthropic. ``keys`` are our names of keys by theirs; empty, keys are not told apart."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        secret: Secret,
        keys: Mapping[str, str],
        base_url: str = BASE_URL,
    ) -> None:
        headers = {"x-api-key": secret, "anthropic-version": Secret(VERSION)}
        self._api = AdminApi(client, base_url, headers)
        self._keys = keys

    async def counts(self, span: TimeSpan) -> list[tuple[TimeSlot, Counts]]:
        """Return what was used by day, key, model and tier. Raises as ``AdminApi.buckets``."""
        groups = ("model", "service_tier", *(("api_key_id",) if self._keys else ()))
        asked = [*_within(span), *(("group_by[]", group) for group in groups)]
        path = "/organizations/usage_report/messages"
        found: list[tuple[TimeSlot, Counts]] = []
        async for bucket in self._api.buckets(path, asked, MessagesBucket):
            found += [(self._slot(bucket, each), _counts(each)) for each in bucket.results]
        return found

    async def costs(self, span: TimeSpan) -> dict[str, int]:
        """Return what was spent by day, in pico-dollars. Raises as ``AdminApi.buckets``."""
        path = "/organizations/cost_report"
        found: dict[str, int] = {}
        async for bucket in self._api.buckets(path, _within(span), AnthropicCostBucket):
            cents = sum((each.amount for each in bucket.results), Decimal())
            found[_day(bucket.starting_at)] = round(cents * PICO / CENTS)
        return found

    def _slot(self, bucket: MessagesBucket, each: Messages) -> TimeSlot:
        theirs = each.api_key_id or ""
        return TimeSlot(
            _day(bucket.starting_at),
            self._keys.get(theirs, theirs) if self._keys else None,
            each.model or "",
            tier_of(each.service_tier),
        )


def _counts(each: Messages) -> Counts:
    written, tools = each.cache_creation or CacheCreation(), each.server_tool_use or ServerToolUse()
    return {
        UNCACHED: each.uncached_input_tokens,
        CACHED: each.cache_read_input_tokens,
        WRITTEN_5M: written.ephemeral_5m_input_tokens,
        WRITTEN_1H: written.ephemeral_1h_input_tokens,
        OUTPUT: each.output_tokens,
        SEARCHES: tools.web_search_requests,
    }


def _within(span: TimeSpan) -> Parameters:
    since, until = (f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for at in span)
    return [
        ("starting_at", since),
        ("ending_at", until),
        ("bucket_width", "1d"),
        ("limit", "31"),
    ]


def _day(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d}"

"""What OpenAI says was used and spent: ``/organization/usage/completions`` and ``…/costs``.

Counts come by day in UTC. ``input_tokens`` includes what caches served, and all modalities. The
amounts of ``costs`` are JSON numbers, read as decimals.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import httpx

from actors.pricing.adapters.admin_api import AdminApi, Parameters
from actors.pricing.core.periods import TimeSpan
from actors.pricing.core.reconciliation import (
    CACHED,
    CALLS,
    OUTPUT,
    PROMPT,
    Counts,
    TimeSlot,
    tier_of,
)
from bus.config.settings import Secret
from schemas.base import Value
from schemas.pricing.units import PICO

BASE_URL = "https://api.openai.com/v1"
KEY = "OPENAI_ADMIN_KEY"


class Completions(Value):
    """The completions of a group within a bucket."""

    input_tokens: int
    output_tokens: int
    num_model_requests: int
    input_cached_tokens: int | None = None
    model: str | None = None
    api_key_id: str | None = None
    batch: bool | None = None
    service_tier: str | None = None


class CompletionsBucket(Value):
    """One day; times are seconds since 1970."""

    start_time: int
    results: list[Completions]


class Amount(Value):
    """Money, in ``currency``."""

    value: Decimal
    currency: str = "usd"


class OpenAICost(Value):
    """What one thing cost."""

    amount: Amount


class OpenAICostBucket(Value):
    """One day."""

    start_time: int
    results: list[OpenAICost]


class OpenAiUsage:
    """Asks OpenAI. ``keys`` are our names of keys by theirs; empty, keys are not told apart."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        secret: Secret,
        keys: Mapping[str, str],
        base_url: str = BASE_URL,
    ) -> None:
        headers = {"authorization": Secret(f"Bearer {secret!s}")}
        self._api = AdminApi(client, base_url, headers)
        self._keys = keys

    async def counts(self, span: TimeSpan) -> list[tuple[TimeSlot, Counts]]:
        """Return what was used by day, key, model and tier. Raises as ``AdminApi.buckets``."""
        groups = ("model", "batch", "service_tier", *(("api_key_id",) if self._keys else ()))
        asked = [*_within(span, 31), *(("group_by", group) for group in groups)]
        path = "/organization/usage/completions"
        found: list[tuple[TimeSlot, Counts]] = []
        async for bucket in self._api.buckets(path, asked, CompletionsBucket):
            found += [(self._slot(bucket, each), _counts(each)) for each in bucket.results]
        return found

    async def costs(self, span: TimeSpan) -> dict[str, int]:
        """Return what was spent by day, in pico-dollars. Raises as ``AdminApi.buckets``."""
        found: dict[str, int] = {}
        async for bucket in self._api.buckets(
            "/organization/costs", _within(span, 180), OpenAICostBucket
        ):
            dollars = sum((each.amount.value for each in bucket.results), Decimal())
            found[_day(bucket.start_time)] = round(dollars * PICO)
        return found

    def _slot(self, bucket: CompletionsBucket, each: Completions) -> TimeSlot:
        theirs = each.api_key_id or ""
        return TimeSlot(
            _day(bucket.start_time),
            self._keys.get(theirs, theirs) if self._keys else None,
            each.model or "",
            tier_of(each.service_tier, batch=bool(each.batch)),
        )


def _counts(each: Completions) -> Counts:
    return {
        PROMPT: each.input_tokens,
        CACHED: each.input_cached_tokens or 0,
        OUTPUT: each.output_tokens,
        CALLS: each.num_model_requests,
    }


def _within(span: TimeSpan, limit: int) -> Parameters:
    since, until = (str(int(at.timestamp())) for at in span)
    return [
        ("start_time", since),
        ("end_time", until),
        ("bucket_width", "1d"),
        ("limit", str(limit)),
    ]


def _day(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"

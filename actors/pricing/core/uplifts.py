"""By how much models are dearer in single regions, as litellm's table has it. Pure.

The first source knows nothing of it. Where the table names one name of a row and not another, the
name that differs gets a row of its own.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from actors.pricing.core.cross_check import Table
from schemas.pricing.names import WantedPrice
from schemas.pricing.overlay import RegionUplift
from schemas.pricing.prices import Prices
from schemas.pricing.uplift import ANYWHERE

By = dict[str, Decimal]
"""Multipliers by region."""

_VERTEX = "vertex_ai/"
_RESIDENCY = "regional_processing_uplift_multiplier_"


def uplifts(prices: Prices, table: Table) -> list[RegionUplift]:
    """Return the multipliers of the rows of a book, and of names that differ from their row."""
    told: dict[tuple[str, str], dict[str, By]] = {}
    for key, entry in sorted(table.items()):
        for provider, name, by in _sold(key, entry):
            meant = prices.find(WantedPrice(provider, name))
            if meant is not None and meant.provider == provider:
                told.setdefault((provider, meant.model), {})[name] = by
    return [
        one for (provider, row), names in sorted(told.items()) for one in _of(provider, row, names)
    ]


def _sold(key: str, entry: Mapping[str, Any]) -> Iterator[tuple[str, str, By]]:
    """Yield who sells this under which name, and how much dearer in which regions."""
    kind = str(entry.get("litellm_provider"))
    if kind == "openai":
        yield kind, key.lower(), _residency(entry)
    elif kind == "anthropic":
        by: Mapping[str, Any] = entry.get("provider_specific_entry") or {}
        yield kind, key.lower(), {"us": Decimal(by["us"])} if "us" in by else {}
    elif kind.startswith("vertex_ai") and key.startswith(_VERTEX):
        times = entry.get("regional_endpoint_uplift_multiplier")
        yield (
            "google",
            key.removeprefix(_VERTEX).lower(),
            {ANYWHERE: Decimal(times)} if times else {},
        )


def _residency(entry: Mapping[str, Any]) -> By:
    """Return OpenAI's multipliers: where those that are told are one, it is that of every region.

    The table has two regions; OpenAI charges it at each of its addresses for data residency.
    """
    by = {
        name.removeprefix(_RESIDENCY): Decimal(times)
        for name, times in entry.items()
        if name.startswith(_RESIDENCY) and times
    }
    alike = set(by.values())
    return {ANYWHERE: alike.pop()} if len(alike) == 1 else by


def _of(provider: str, row: str, names: Mapping[str, By]) -> Iterator[RegionUplift]:
    first = next(iter(names.values()))
    agreed = first if all(by == first for by in names.values()) else {}
    own = names.get(row, agreed)
    if own:
        yield RegionUplift(provider=provider, model=row, by=own)
    for name, by in names.items():
        if name != row and by != own:
            yield RegionUplift(provider=provider, model=name, like=row, by=by)

"""How cost grows with work: a fleet is filled in steps, and all is measured anew after each.

``GROWTH=500,2000,6000`` sets how many executions there are after each step. Half of them are of the
tenant ``local``, the others of 200 tenants; one in a hundred has a prompt of 50 KB, one in fifty is
a turn of one of four long sessions. A figure stands beside that of the first step, and is not to be
more than a fifth above it, unless it has a bound of its own.
"""

import os
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import pairwise

from tests.bench import growth_account
from tests.bench.fleet import fleet
from tests.bench.growth_load import Load
from tests.bench.growth_looks import LOOKS, Figure
from tests.bench.rows import Row

NAME = "growth"
SIZES = (5_000, 20_000, 60_000)
MOST_GROWTH = 1.2
ACTORS = ("agents", "streaming", "pricing")


def sizes() -> tuple[int, ...]:
    """Return how many executions there are after each step.

    Raises:
        ValueError: GROWTH is no list of rising numbers.
    """
    said = os.environ.get("GROWTH")
    if not said:
        return SIZES
    found = tuple(int(each) for each in said.split(","))
    if found[0] < 1 or any(one >= other for one, other in pairwise(found)):
        raise ValueError("GROWTH is a list of rising numbers, such as 500,2000,6000")
    return found


async def measure() -> list[Row]:
    """Fill a fleet in steps, and say in the last row which bounds are missed."""
    first: dict[str, float] = {}
    rows: list[Row] = []
    async with _filled_fleet() as load:
        for size in sizes():
            figures = [*await _step(load, size), *growth_account.measure(size)]
            rows += [_row(one, size, first.setdefault(one.what, one.value)) for one in figures]
    return [*rows, _summary(rows)]


@asynccontextmanager
async def _filled_fleet() -> AsyncGenerator[Load]:
    async with fleet(ACTORS) as running:
        load = Load(running)
        await load.begin()
        yield load


async def _step(load: Load, size: int) -> list[Figure]:
    """Add what is missing to so many executions, then look at the fleet from all sides."""
    _say(f"filling up to {size:,} executions")
    figures = await load.fill(size)
    for look in LOOKS:
        _say(f"{size:,}: {(look.__doc__ or '').partition('.')[0]}")
        began = time.perf_counter()
        figures += await look(load)
        _say(f"{size:,}: took {time.perf_counter() - began:.1f} s")
    return figures


def _row(figure: Figure, size: int, first: float) -> Row:
    """Return a figure beside the first one, or beside what is too small to be measured well."""
    what = f"{figure.what} ({size:,})"
    if figure.most is not None:
        return Row(NAME, what, figure.value, figure.unit, most=figure.most)
    if not figure.is_flat:
        return Row(NAME, what, figure.value, figure.unit, beside=first or None)
    beside = max(first, figure.least)
    if figure.is_rate:
        return Row(NAME, what, figure.value, figure.unit, beside, least=1 / MOST_GROWTH)
    return Row(NAME, what, figure.value, figure.unit, beside, most=MOST_GROWTH)


def _summary(rows: list[Row]) -> Row:
    missed = [row.what for row in rows if row.verdict == "MISSED"]
    what = f"bounds missed: {'; '.join(missed)}" if missed else "bounds missed: none"
    return Row(NAME, what, len(missed), "", most=0)


def _say(text: str) -> None:
    print(f"  .. {text}", file=sys.stderr, flush=True)

"""Streams relayed from a provider to a client, beside a relay that does nothing else.

Provider and client are processes of their own; ours and the nats-server are all charged. The bare
relay is aiohttp at both sides (``streaming_relay``), in the same run on the same streams, and what
it does for a stream is what stands beside ours. A stream of ours is an execution: it is accepted,
journalled, stored, resumable and recorded.
"""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from statistics import median
from typing import NamedTuple

from tests.bench.fleet import fleet
from tests.bench.rows import Row, percentile
from tests.bench.streaming_load import BusWay, HttpWay, Provider, Way, provider, relay

NAME = "streaming"
ROUNDS = 3
PACED, STREAMS, CHUNKS = "paced:500:0.02", 200, 500
FULL, FULL_STREAMS, FULL_TOTAL = "full:500:0", 32, 320
MANY, MANY_STREAMS = "paced:150:0.1", 1000
FIRST, FIRSTS, WARM = "paced:1:0.001", 300, 50
CANCELS, LONG = 50, "paced:100000:0.02"
FAULTS = ("cut", "stall", "broken")
FAULTY_CHUNKS = 60
ENVIRONMENT = {
    "MAX_CONCURRENT_EXECUTIONS": str(MANY_STREAMS),
    "OPENAI_API_KEY": "none",
}
MILLI, MICRO = 1e3, 1e6


class Played(NamedTuple):
    """One round of streams: processor time a chunk by process, and how late chunks were."""

    chunks: int
    each: dict[str, float]
    late: list[float]

    @property
    def micros(self) -> float:
        """Processor time a chunk, of all processes, in microseconds."""
        return sum(self.each.values())


class Bench(NamedTuple):
    """The provider, and the ways from it to the client."""

    provider: Provider
    direct: HttpWay
    bare: HttpWay
    ours: BusWay


async def measure() -> list[Row]:
    """Measure all rows but the ten minutes of ``streaming_memory``."""
    async with opened() as bench:
        rows = await _first_deltas(bench)
        rows += await _paced(bench)
        rows += await _unpaced(bench)
        rows += await _many(bench)
        rows += await _cancelled(bench)
        return rows + await _faults(bench)


@asynccontextmanager
async def opened() -> AsyncGenerator[Bench]:
    """Run everything, warm, while the context is open."""
    async with (
        provider() as source,
        relay(source.url) as bare,
        fleet(["agents", "streaming"], ENVIRONMENT) as running,
    ):
        ours = BusWay(running, source.url)
        await ours.open()
        direct = HttpWay(source.port, "/v1/chat/completions")
        for way in (bare, ours):
            await way.play("full:50:0", 20, 200)
        yield Bench(source, direct, bare, ours)


async def _played(way: Way, model: str, streams: int, total: int | None = None) -> Played:
    before = way.processor_seconds()
    arrivals = await way.play(model, streams, total)
    after = way.processor_seconds()
    ended = arrivals.ends.total()
    assert arrivals.ends["completed"] == ended, arrivals.ends
    chunks = len(arrivals.stamps)
    # More where an attempt was begun anew, as on a machine that is too busy for signs of life.
    assert chunks >= ended * int(model.split(":")[1]), chunks
    each = {who: (after[who] - before[who]) / chunks * MICRO for who in after}
    return Played(chunks, each, arrivals.late)


async def _rounds(
    bench: Bench, model: str, streams: int, total: int | None = None
) -> tuple[list[Played], list[Played]]:
    """Play ours and the bare relay in turns; return the rounds of each."""
    ours: list[Played] = []
    bare: list[Played] = []
    for _ in range(ROUNDS):
        bare.append(await _played(bench.bare, model, streams, total))
        ours.append(await _played(bench.ours, model, streams, total))
    return ours, bare


# Rows


async def _paced(bench: Bench) -> list[Row]:
    ours, bare = await _rounds(bench, PACED, STREAMS)
    cpu = [median(one.micros for one in rounds) / MILLI for rounds in (ours, bare)]
    what = f"{STREAMS} x 50/s"
    rows = [Row(NAME, f"processor time, 1,000 deltas, {what}", cpu[0], "s", cpu[1], most=1.7)]
    for who in ours[0].each:
        micros = median(one.each[who] for one in ours)
        rows.append(Row(NAME, f"  of it {who}", micros / MILLI, "s"))
    for share, most in ((0.5, None), (0.99, 1.5)):
        late = [
            median(percentile(one.late, share) for one in rounds) * MILLI for rounds in (ours, bare)
        ]
        words = f"a delta's way, {what}, p{share * 100:.0f}"
        rows.append(Row(NAME, words, late[0], "ms", late[1], most=most))
    resident = bench.ours.resident() | {"bare relay": bench.bare.resident()["relay"]}
    return rows + [
        Row(NAME, f"resident after it, {who}", megabytes, "MB", most=120)
        for who, megabytes in resident.items()
    ]


async def _unpaced(bench: Bench) -> list[Row]:
    ours, bare = await _rounds(bench, FULL, FULL_STREAMS, FULL_TOTAL)
    rates = [median(MICRO / one.micros for one in rounds) for rounds in (ours, bare)]
    what = f"deltas a second and core, {FULL_STREAMS} streams"
    return [
        Row(NAME, what, rates[0], "1/s", least=55_000),
        Row(NAME, "  the bare relay", rates[1], "1/s"),
    ]


async def _first_deltas(bench: Bench) -> list[Row]:
    """Ask one at a time in turns; what is added is beyond the median of asking directly."""
    takes: dict[str, list[tuple[float, float]]] = {"direct": [], "bare": [], "ours": []}
    for _ in range(FIRSTS + WARM):
        for name, way in (("direct", bench.direct), ("bare", bench.bare), ("ours", bench.ours)):
            began = time.monotonic()
            arrivals = await way.play(FIRST, 1)
            takes[name].append((arrivals.stamps[0] - began, arrivals.late[0]))
    floor = median(sum(take) for take in takes["direct"][WARM:]) * MILLI
    asked = median(to for to, _ in takes["direct"][WARM:]) * MILLI
    read = median(back for _, back in takes["direct"][WARM:]) * MILLI
    rows: list[Row] = []
    for share, most in ((0.5, 2.0), (0.99, 5.0)):
        ours, bare = takes["ours"][WARM:], takes["bare"][WARM:]
        added = percentile([sum(take) for take in ours], share) * MILLI - floor
        beside = percentile([sum(take) for take in bare], share) * MILLI - floor
        to = percentile([to for to, _ in ours], share) * MILLI - asked
        back = percentile([back for _, back in ours], share) * MILLI - read
        words = f"p{share * 100:.0f}"
        rows += [
            Row(NAME, f"added to the first delta, {words}", added, "ms", most=most),
            Row(NAME, f"  until the provider is asked, {words}", to, "ms"),
            Row(NAME, f"  from its first byte to the client, {words}", back, "ms"),
            Row(NAME, f"  all of it, the bare relay, {words}", beside, "ms"),
        ]
    return rows


async def _many(bench: Bench) -> list[Row]:
    """Let a thousand streams run in one process; a gap is what one of them waits for its next."""
    await _played(bench.ours, MANY, MANY_STREAMS)
    gaps = bench.ours.arrivals.gaps
    what = f"{MANY_STREAMS:,} streams x 10/s"
    resident = bench.ours.resident()["streaming"]
    largest, usual = max(gaps) * MILLI, median(gaps) * MILLI
    return [
        Row(NAME, f"{what}: largest gap, beside the median", largest, "ms", usual, most=10),
        Row(NAME, f"{what}: resident, streaming", resident, "MB", most=250),
    ]


async def _cancelled(bench: Bench) -> list[Row]:
    took: list[float] = []
    ours = bench.ours
    for turn in range(CANCELS):
        arrivals, name = ours.renewed(), f"cancelled-{turn}"
        ours.ask_as(LONG, name)
        await arrivals.until(lambda arrivals=arrivals: len(arrivals.stamps) > 1)
        began = time.monotonic()
        await ours.cancel(name)
        took.append(await bench.provider.left() - began)
        await arrivals.until(lambda arrivals=arrivals: bool(arrivals.ends))
    what = "cancelled -> provider's connection closed"
    return [
        Row(NAME, f"{what}, p50", percentile(took, 0.5) * MILLI, "ms"),
        Row(NAME, f"{what}, most", max(took) * MILLI, "ms", most=100),
    ]


async def _faults(bench: Bench) -> list[Row]:
    """Break streams in the middle, each in another way; all that is good has to arrive.

    Executions may be attempted once, so that no other attempt hides how this one ends.
    """
    rows: list[Row] = []
    bench.ours.attempts = 1
    for fault in FAULTS:
        arrivals = await bench.ours.play(f"{fault}:{FAULTY_CHUNKS}:0.01", 1)
        [how], code = arrivals.ends, bench.ours.problems.pop()
        good = FAULTY_CHUNKS if fault == "broken" else FAULTY_CHUNKS // 2
        words = f"{fault}: {how} ({code}), deltas that arrived"
        rows.append(Row(NAME, words, len(arrivals.stamps), f"of {good}", least=good))
    return rows

"""What a price costs: one usage record, one event, one import, beside two price libraries.

litellm is measured in an environment of its own (``make bench-pricing``), or that of
``LITELLM_PYTHON``; without one its rows are left out.
"""

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bus.kv.prices import shipped_text
from schemas.base import Message
from schemas.pricing.prices import Priced, Prices, RateTerms
from schemas.usage import Usage
from tests.bench.rows import Row

NAME = "pricing"
ROOT = Path(__file__).parents[2]
PEER = ROOT / ".venv-litellm" / "bin" / "python"

PRICE_RATIO, EVENT_RATIO, IMPORT_RATIO = 100.0, 60.0, 5.0
MOST_MEGABYTES = 10.0
ROUNDS = 7

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
USAGE = Usage(input=12_000, cache_read=3_000, output=800, reasoning=200)
TERMS = RateTerms("openai", "gpt-4o-2024-08-06")

IMPORT = """
import resource, time
began = time.process_time()
{code}
took = time.process_time() - began
print(took, int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20)
"""
OURS = """
from schemas.pricing.prices import Prices
with open("schemas/pricing/book.json", "rb") as book:
    Prices(book.read())
"""
"""Of the standard library, only what a price needs is imported."""
THEIRS = """
from genai_prices import Usage, calc_price
calc_price(Usage(input_tokens=1, output_tokens=1), "gpt-4o", provider_id="openai")
"""


class Used(Message, tag="used"):
    """An event with usage as it comes in."""

    provider: str
    model: str
    usage: Usage


class Paid(Message, tag="paid"):
    """The same with its cost as it goes out."""

    provider: str
    model: str
    usage: Usage
    cost_pico: int
    row: str
    book_id: str


async def measure() -> list[Row]:
    """Measure what is installed, each beside ours in the same run."""
    prices = Prices(shipped_text())
    price = microseconds(partial(prices.price, TERMS, USAGE, AT))
    event = microseconds(partial(_event, prices, msgspec.json.encode(_used())))
    rows = [
        Row(NAME, "price one record", price, "us"),
        Row(NAME, "decode, price, encode", event, "us"),
    ]
    if importlib.util.find_spec("genai_prices"):
        rows.append(_against("genai_prices.calc_price beside it", _genai(), price, PRICE_RATIO))
    peer = _litellm()
    if peer:
        rows.append(_against("litellm.cost_per_token beside it", peer["price"], price, PRICE_RATIO))
        rows.append(_against("litellm.completion_cost / event", peer["event"], event, EVENT_RATIO))
    return [*rows, *_imports()]


def microseconds(call: Callable[[], Any]) -> float:
    """Return the processor time of a call: the least of some rounds of at least 0.1 s."""
    number, took = 1, 0.0
    while took < 0.1:
        number *= 2
        took = _processor_time(call, number)
    return min(_processor_time(call, number) for _ in range(ROUNDS)) / number * 1e6


def _processor_time(call: Callable[[], Any], number: int) -> float:
    began = time.process_time()
    for _ in range(number):
        call()
    return time.process_time() - began


def _against(what: str, theirs: float, ours: float, least: float) -> Row:
    return Row(NAME, what, theirs, "us", beside=ours, least=least)


def _used() -> Used:
    return Used(provider=TERMS.provider, model=TERMS.model, usage=USAGE)


_decoder = msgspec.json.Decoder(Used)
_encoder = msgspec.json.Encoder()


def _event(prices: Prices, data: bytes) -> bytes:
    used = _decoder.decode(data)
    answer = prices.price(RateTerms(used.provider, used.model), used.usage, AT)
    assert isinstance(answer, Priced)
    return _encoder.encode(
        Paid(
            provider=used.provider,
            model=used.model,
            usage=used.usage,
            cost_pico=answer.cost,
            row=answer.row,
            book_id=answer.book_id,
        )
    )


def _genai() -> float:
    source: Any = importlib.import_module("genai_prices")
    usage = source.Usage(
        input_tokens=USAGE.prompt, cache_read_tokens=USAGE.cache_read, output_tokens=USAGE.output
    )
    call = partial(
        source.calc_price, usage, TERMS.model, provider_id="openai", genai_request_timestamp=AT
    )
    return microseconds(call)


def _litellm() -> dict[str, float] | None:
    """Return litellm's figures from the environment it is installed in."""
    python = os.environ.get("LITELLM_PYTHON", str(PEER))
    script = Path(__file__).with_name("pricing_peer.py")
    if not Path(python).exists():
        return None
    run = subprocess.run(
        [python, "-I", str(script)], capture_output=True, check=True, timeout=300, cwd=ROOT
    )
    return msgspec.json.decode(run.stdout.splitlines()[-1], type=dict[str, float])


def _imports() -> list[Row]:
    """Measure imports in turns: what else the machine does meets all alike."""
    codes = ["pass", OURS]
    if importlib.util.find_spec("genai_prices"):
        codes.append(THEIRS)
    with tempfile.TemporaryDirectory() as folder:
        rounds = [[_import(code, folder) for code in codes] for _ in range(ROUNDS)]
    bare, ours, *others = (min(each) for each in zip(*rounds, strict=True))
    grown = ours.memory - bare.memory
    rows = [Row(NAME, "memory of import and table over Python", grown, "MB", most=MOST_MEGABYTES)]
    what = "import of genai-prices / ours, with the table"
    for theirs in others:
        figure, beside = theirs.seconds * 1e3, ours.seconds * 1e3
        rows.append(Row(NAME, what, figure, "ms", beside=beside, least=IMPORT_RATIO))
    return rows


class _Imported(NamedTuple):
    seconds: float
    memory: float


def _import(code: str, compiled: str) -> _Imported:
    """Return the processor time of some code, and the megabytes of a process that has run it.

    Its first round compiles what it imports, and the others find that as if it were installed.
    """
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": compiled}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    run = subprocess.run(
        [sys.executable, "-c", IMPORT.format(code=code)],
        capture_output=True,
        check=True,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    return _Imported(*map(float, run.stdout.split()))

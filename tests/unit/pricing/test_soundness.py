"""What somebody writes by hand is in force only if it can be a price."""

from collections.abc import Callable
from pathlib import Path

import pytest

from actors.pricing.adapters.shipped import read_overlay
from bus.errors import ProblemError
from bus.kv.prices import shipped_text
from schemas.pricing.book import canonical, read
from schemas.pricing.names import WantedPrice
from schemas.pricing.overlay import laid_over
from schemas.pricing.prices import Prices

Write = Callable[[str], Path]

ROW = """
name = "ours"
[[rows]]
provider = "openai"
model = "gpt-4o"
usd = { input = 1.0, output = 2.0 }
"""
TIERS = """
[[rows.tiers]]
from = 200_001
usd = { input = 3.0 }
[[rows.tiers]]
from = 100_001
usd = { input = 2.0 }
"""
UPLIFT = """
name = "ours"
[[uplifts]]
provider = "openai"
model = "gpt-4o"
by = { eu = 1.05 }
"""
PATTERN = """
[[patterns.acme]]
model = "m"
groups = [[["regex", "("]]]
"""


@pytest.fixture
def written(tmp_path: Path) -> Write:
    def write(text: str) -> Path:
        path = tmp_path / "ours.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (ROW.replace("1.0", "-1.0"), "rows[0].usd.input"),
        (ROW.replace("2.0", "inf"), "rows[0].usd.output"),
        (ROW.replace("2.0", "nan"), "rows[0].usd.output"),
        (ROW.replace("2.0", "1e9"), "rows[0].usd.output"),
        (ROW.replace("input = 1.0, output = 2.0", ""), "rows[0].usd"),
        (ROW.replace('"gpt-4o"', '" "'), "rows[0].model"),
        (UPLIFT.replace("1.05", "0"), "uplifts[0].by.eu"),
        (UPLIFT.replace("1.05", "inf"), "uplifts[0].by.eu"),
        (UPLIFT.replace("1.05", "110"), "uplifts[0].by.eu"),
        (ROW.replace('"openai"', '""'), "rows[0].provider"),
        (ROW + 'aliases = ["mine", ""]', "rows[0].aliases"),
        (ROW + "from = 2026-12-01\nuntil = 2026-12-01", "rows[0].until"),
        (ROW + TIERS, "rows[0].tiers"),
        (ROW + TIERS.replace("200_001", "0"), "rows[0].tiers[0].from"),
        (ROW + TIERS.replace("3.0", "-3.0"), "rows[0].tiers[0].usd.input"),
        (ROW + "[rows.variants.batch]\nusd = { input = -1 }", "rows[0].variants.batch.usd.input"),
        (ROW + PATTERN, "patterns.acme[0].groups"),
        (ROW + PATTERN.replace('[["regex", "("]]', "[]"), "patterns.acme[0].groups"),
        (ROW + '[providers.acme]\nname = "Acme"\nhosts = "("', "providers.acme.hosts"),
    ],
)
def test_what_no_price_can_be_is_refused_by_its_field(written: Write, text: str, field: str):
    with pytest.raises(ProblemError) as refused:
        read_overlay(written(text))

    problem = refused.value.problem
    assert (problem.code, problem.field) == ("validation", field)


def test_what_a_price_can_be_is_read(written: Write):
    tiers = TIERS.replace("100_001", "300_001")
    text = ROW + "from = 2026-01-01\nuntil = 2027-01-01" + tiers
    text += "[rows.variants.batch]\nusd = { input = 0.5, output = 1 }"

    assert len(read_overlay(written(text)).rows) == 1


@pytest.mark.parametrize(
    ("provider", "model", "asked", "row"),
    [
        ("OpenAI", "GPT-4o", ("openai", "gpt-4o"), ("openai", "gpt-4o")),
        ("bedrock", "amazon.nova-pro-v1:0", ("aws", "Amazon.Nova-Pro-v1:0"), None),
        ("gemini", "gemini-2.5-pro", ("google", "gemini-2.5-pro"), None),
        ("Acme", "Big", ("acme", "BIG"), ("acme", "big")),
    ],
)
def test_a_row_is_in_force_however_its_names_are_written(
    written: Write, provider: str, model: str, asked: tuple[str, str], row: tuple[str, str] | None
):
    text = ROW.replace("openai", provider).replace("gpt-4o", model)
    book = laid_over(read(shipped_text()), read_overlay(written(text)))
    prices = Prices(canonical(book))

    found = prices.find(WantedPrice(*asked))

    assert found is not None
    assert (found.provider, found.model) == (row or (asked[0], model))
    priced = prices.row(found.provider, found.model)
    assert priced is not None
    assert priced.prices[0].rates == {"input": 1_000_000, "output": 2_000_000}


def test_a_row_under_another_name_of_a_provider_leaves_its_other_models_alone(written: Write):
    text = ROW.replace("openai", "bedrock").replace("gpt-4o", "amazon.nova-pro-v1:0")
    book = laid_over(read(shipped_text()), read_overlay(written(text)))

    assert Prices(canonical(book)).find(WantedPrice("bedrock", "amazon.nova-lite-v1:0")) is not None


def test_a_pattern_is_matched_however_it_is_written(written: Write):
    pattern = PATTERN.replace('[["regex", "("]]', '[["starts_with", "Mini-"]]')
    text = ROW.replace("openai", "Acme").replace("gpt-4o", "M") + pattern.replace('"m"', '"M"')
    book = laid_over(read(shipped_text()), read_overlay(written(text)))

    found = Prices(canonical(book)).find(WantedPrice("acme", "MINI-7"))

    assert found is not None
    assert found.model == "m"

"""What ``callboard costs`` prints: money that can be read, bars in proportion, exact tables."""

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from actors.cli.commands import main
from actors.cli.costs import BAR, bar, table_of, usd
from schemas.reports import CostLine, CostReport, Totals
from schemas.usage import COUNTS, Usage

PICO = 10**12
AT = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("pico", "text"),
    [
        (0, "$0.00"),
        (1, "$0.00000000000100"),
        (123_456_789, "$0.000123"),
        (PICO // 2, "$0.500"),
        (PICO, "$1.00"),
        (1_234_567 * PICO + PICO // 4, "$1,234,567.25"),
        (-PICO // 4, "$-0.250"),
    ],
)
def test_money_is_shown_with_cents_or_with_three_digits_that_count(pico: int, text: str):
    assert usd(pico) == text


@given(st.integers(0, 10**18), st.integers(1, 10**18))
def test_a_bar_is_never_longer_than_its_cells_and_never_hides_what_is_there(value: int, most: int):
    drawn = bar(min(value, most), most)

    assert len(drawn) <= BAR
    assert bool(drawn) == (value > 0)


def test_bars_grow_with_what_they_show():
    lengths = [
        8 * bar(n, 160).count("█") + " ▏▎▍▌▋▊▉".find((bar(n, 160).lstrip("█") or " ")[0])
        for n in range(161)
    ]

    assert all(one <= other for one, other in pairwise(lengths))
    assert bar(160, 160) == "█" * BAR


def test_an_exported_table_has_every_number_of_the_report():
    totals = Totals(
        cost_pico=3 * 10**18,
        calls=4,
        executions=3,
        successes=2,
        unpriced_calls=1,
        estimated_calls=0,
        usage=Usage(input=7, output=9),
    )
    line = CostLine(group={"day": "2026-11-01", "user": None}, totals=totals)
    report = CostReport(
        since=AT,
        until=AT,
        time_zone="UTC",
        group_by=["day", "user"],
        lines=[line],
        total=totals,
        rest=totals,
    )

    titles, first, rest = table_of(report)

    row = dict(zip(titles, first, strict=True))
    assert (row["day"], row["user"], row["cost_usd"], row["input"]) == (
        "2026-11-01",
        None,
        "3000000",
        7,
    )
    assert titles[-len(COUNTS) :] == list(COUNTS)
    assert rest[:2] == ["(rest)", None]


@pytest.mark.parametrize("day", ["tomorrow", "1.11.2026", ""])
def test_what_is_no_date_is_said_before_anybody_is_asked(day: str):
    result = CliRunner().invoke(main, ["costs", "--since", day])

    assert result.exit_code == 2
    assert "is not a date, or a date and time" in " ".join(result.output.split())

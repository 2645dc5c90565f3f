"""``callboard costs``: what was spent."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, get_args

import click

from actors.cli import rendering
from actors.cli.asking import built
from actors.cli.fields import MONEY, PICO, options
from actors.cli.replies import usd
from actors.cli.session import Session, with_session
from schemas.reports import CostReport, GroupBy, ReportCosts, Totals
from schemas.usage import COUNTS

BAR = 20
"""Cells of the longest bar."""

EIGHTHS = " ▏▎▍▌▋▊▉"
NAMES = tuple(name for part in get_args(GroupBy) for name in get_args(part))

ASK_SECONDS = 30.0


OPTIONS = [one for one in options(ReportCosts) if one.name != "group_by"]


@click.group(invoke_without_command=True, params=[*OPTIONS])
@click.option("--by", "group_by", multiple=True, type=click.Choice(NAMES), help="Group by this.")
@click.option("--export", type=click.Choice(("csv", "json")), help="Print data instead.")
@click.pass_context
@with_session
def costs(session: Session, context: click.Context, export: str | None, **asked: Any) -> None:
    """Show what was spent, by day unless --by names other groups."""
    if context.invoked_subcommand is not None:
        return
    wanted = built(ReportCosts, asked | {"group_by": asked["group_by"] or ("day",)})
    report: CostReport = session.run(
        lambda client: client.request(session.tenant, wanted, timeout=ASK_SECONDS)
    )
    if export == "json":
        rendering.json(report)
    elif export == "csv":
        rendering.csv(table_of(report))
    else:
        _show(report)


# Showing


def _show(report: CostReport) -> None:
    most = max((line.totals.cost_pico for line in report.lines), default=0)
    rows = [
        (*_values(line.group), *_cells(line.totals), bar(line.totals.cost_pico, most))
        for line in report.lines
    ]
    blank = [""] * (len(report.group_by) - 1)
    if report.rest:
        rows.append(("the rest", *blank, *_cells(report.rest), ""))
    rows.append(("total", *blank, *_cells(report.total), ""))
    titles = ("cost", "calls", "in", "cached", "out", "p50", "p95", "a success", "")
    rendering.table((*report.group_by, *titles), rows)
    if report.source == "calls":
        rendering.line("Each call was read: no sums are kept that answer this.")
    if report.total.unpriced_calls:
        rendering.line(
            f"{report.total.unpriced_calls} calls have no price and are not in the cost."
        )
    if report.trend:
        change = (
            f"{report.trend.change:+.0%}" if report.trend.change is not None else "from nothing"
        )
        rendering.line(
            f"{change} against {usd(report.trend.previous.cost_pico)} in the span before;"
            f" {usd(report.trend.daily_pico)} a day, {usd(report.trend.forecast_30d_pico)} in 30."
        )


def _values(group: dict[str, str | None]) -> tuple[str, ...]:
    return tuple("-" if value is None else value for value in group.values())


def _cells(totals: Totals) -> tuple[str, ...]:
    def money(pico: int | None) -> str:
        return "" if pico is None else usd(pico)

    return (
        usd(totals.cost_pico),
        f"{totals.calls:,}",
        f"{totals.usage.prompt:,}",
        "" if totals.cache_share is None else f"{totals.cache_share:.0%}",
        f"{totals.usage.made:,}",
        money(totals.p50_pico),
        money(totals.p95_pico),
        money(totals.cost_per_success_pico),
    )


def bar(value: int, most: int, cells: int = BAR) -> str:
    """Return a bar whose length is to ``cells`` as ``value`` is to ``most``."""
    if value <= 0 or most <= 0:
        return ""
    whole, eighths = divmod(value * cells * 8 // most, 8)
    return ("█" * whole + EIGHTHS[eighths]).rstrip() or EIGHTHS[1]


def table_of(report: CostReport) -> Iterator[list[Any]]:
    """Return a report as rows of a table, the titles first; money is exact, in dollars."""
    plain = [name for name in Totals.__struct_fields__ if name != "usage"]
    titles = [f"{name.removesuffix(MONEY)}_usd" if name.endswith(MONEY) else name for name in plain]
    yield [*report.group_by, *titles, *COUNTS]
    lines = [(list(line.group.values()), line.totals) for line in report.lines]
    if report.rest:
        lines.append((["(rest)", *[None] * (len(report.group_by) - 1)], report.rest))
    for group, totals in lines:
        counts = [getattr(totals.usage, name) for name in COUNTS]
        yield [*group, *(_exact(name, getattr(totals, name)) for name in plain), *counts]


def _exact(name: str, value: Any) -> Any:
    if value is None or not name.endswith(MONEY):
        return value
    return f"{Decimal(value) / PICO:f}"

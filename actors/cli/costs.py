"""``callboard costs``: what was spent, and how to spend less."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, get_args

import click
import msgspec

from actors.cli import shown
from actors.cli.session import Session, with_session
from bus.client import Client
from bus.codec import convert
from schemas.reports import (
    CostReport,
    GroupBy,
    Recommendations,
    RecommendSavings,
    ReportCosts,
    Totals,
)
from schemas.usage import COUNTS

PICO = Decimal(10) ** 12
BAR = 20
"""Cells of the longest bar."""

EIGHTHS = " ▏▎▍▌▋▊▉"
NAMES = tuple(name for part in get_args(GroupBy) for name in get_args(part))

ASK_SECONDS = 30.0


class Day(click.ParamType[str]):
    """A day, or a moment of it, as reports are asked for one."""

    name = "DATE"

    def convert(self, value: Any, param: Any, ctx: Any) -> str:
        """Return the text as it is, if it is a date."""
        try:
            datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no date such as 2026-11-01", param, ctx)
        return value


def _asking(command: Any) -> Any:
    """Add the options that say which calls a question is about."""
    for option in reversed(
        (
            click.option("--since", type=Day(), help="From this day on.  [30 days ago]"),
            click.option("--until", type=Day(), help="Up to this day, excluded.  [now]"),
            click.option("--time-zone", default="UTC", show_default=True, help="Where days begin."),
            click.option("--user", help="Only of this user."),
            click.option("--project", help="Only of this project."),
            click.option("--agent", "agent_id", help="Only of this agent."),
            click.option("--workflow", "workflow_id", help="Only of this workflow."),
            click.option("--provider", help="Only at this provider."),
            click.option("--model", help="Only of this model."),
        )
    ):
        command = option(command)
    return command


@click.group(invoke_without_command=True)
@click.option(
    "--by",
    multiple=True,
    type=click.Choice(NAMES),
    help="Group by this; may be repeated.  [day]",
)
@click.option("--trend", is_flag=True, help="Compare with the same span before.")
@click.option("--percentiles", is_flag=True, help="Read each call for what half of them cost.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=500, show_default=True, help="Groups at most."
)
@click.option("--export", type=click.Choice(("csv", "json")), help="Print data instead.")
@_asking
@click.pass_context
@with_session
def costs(
    session: Session, context: click.Context, by: Sequence[str], export: str | None, **asked: Any
) -> None:
    """Show what was spent, by day unless --by names other groups."""
    if context.invoked_subcommand is not None:
        return
    report: CostReport = _ask(session, ReportCosts, asked | {"group_by": list(by or ["day"])})
    if export == "json":
        shown.json(report)
    elif export == "csv":
        shown.csv(table_of(report))
    else:
        _show(report)


@costs.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@_asking
@with_session
def recommend(session: Session, *, as_json: bool, **asked: Any) -> None:
    """Say how to spend less, and what it would have saved on the calls of the past."""
    answer: Recommendations = _ask(session, RecommendSavings, asked)
    if as_json:
        shown.json(answer)
        return
    rows = (
        (
            usd(one.saving_pico) if one.saving_pico else f"{usd(one.held_pico)} held",
            share(one.saving_pico, one.cost_pico),
            one.calls,
            f"{one.provider}/{one.model}",
            one.agent_id,
            one.message,
        )
        for one in answer.recommendations
    )
    shown.table(("saves", "of its cost", "calls", "model", "agent", "how"), rows)
    shown.line(
        f"{answer.examined_calls} calls of {usd(answer.cost_pico)} priced anew by book"
        f" {answer.book_id[:12]}; {answer.skipped_calls} left out. They exclude each other in part."
    )


def _ask(session: Session, kind: type[Any], asked: dict[str, Any]) -> Any:
    given = {name: value for name, value in asked.items() if value is not None}

    async def question(client: Client) -> Any:
        wanted = convert(kind, given)
        return await client.request(session.tenant, wanted, timeout=ASK_SECONDS)

    return session.run(question)


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
    shown.table((*report.group_by, *titles), rows)
    if report.source == "calls":
        shown.line("Each call was read: no sums are kept that answer this.")
    if report.total.unpriced_calls:
        shown.line(f"{report.total.unpriced_calls} calls have no price and are not in the cost.")
    if report.trend:
        change = (
            f"{report.trend.change:+.0%}" if report.trend.change is not None else "from nothing"
        )
        shown.line(
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


def usd(pico: int) -> str:
    """Return pico-dollars as dollars: cents, and for less than a dollar three digits that count."""
    amount = Decimal(pico) / PICO
    if pico == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    places = 2 - amount.adjusted()
    return f"${amount:.{places}f}"


def share(part: int, whole: int) -> str:
    """Return a part in per cent."""
    return f"{part / whole:.0%}" if whole else ""


def bar(value: int, most: int, cells: int = BAR) -> str:
    """Return a bar whose length is to ``cells`` as ``value`` is to ``most``."""
    if value <= 0 or most <= 0:
        return ""
    whole, eighths = divmod(value * cells * 8 // most, 8)
    return ("█" * whole + EIGHTHS[eighths]).rstrip() or EIGHTHS[1]


def table_of(report: CostReport) -> Iterator[list[Any]]:
    """Return a report as rows of a table, the titles first; money is exact, in pico-dollars."""
    plain = [name for name in Totals.__struct_fields__ if name != "usage"]
    yield [*report.group_by, *plain, *COUNTS]
    lines = [(list(line.group.values()), line.totals) for line in report.lines]
    if report.rest:
        lines.append((["(rest)", *[None] * (len(report.group_by) - 1)], report.rest))
    for group, totals in lines:
        fields = msgspec.structs.asdict(totals)
        counts = [getattr(totals.usage, name) for name in COUNTS]
        yield [*group, *(fields[name] for name in plain), *counts]

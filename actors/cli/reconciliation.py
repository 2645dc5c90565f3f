"""``callboard costs reconcile``: our counts beside those of providers, our rates beside AWS's."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

import click
import httpx
import msgspec

from actors.cli import rendering
from actors.cli.costs import ASK_SECONDS, costs
from actors.cli.prices import CURRENT, prices_of
from actors.cli.replies import usd
from actors.cli.session import EXIT_FAILURE, Session, leave, with_session
from actors.pricing.adapters import anthropic_usage, openai_usage
from actors.pricing.adapters.sources import MOST_BYTES, MOST_CONTAINERS
from actors.pricing.core import price_list
from actors.pricing.core.periods import TimeSpan, span_of
from actors.pricing.core.reconciliation import (
    CostDifference,
    Counts,
    TimeSlot,
    compared,
    our_counts,
)
from bus import files
from bus.client import Client
from bus.config.settings import Secret
from bus.errors import ConfigError, ProblemError, problem
from bus.jetstream.bus import system_clock
from schemas import bounds
from schemas.base import Value
from schemas.reports import CostReport, ReportCosts

DAY = timedelta(days=1)


class BillSource(Protocol):
    """What a provider says of a span of days in UTC."""

    async def counts(self, span: TimeSpan) -> list[tuple[TimeSlot, Counts]]:
        """Return what was used by day, key, model and tier."""
        ...

    async def costs(self, span: TimeSpan) -> dict[str, int]:
        """Return what was spent by day, in pico-dollars."""
        ...


class Side(NamedTuple):
    """A provider's administration API: how to ask it, and the variable that holds the key."""

    name: str
    variable: str
    base_url: str
    source: Callable[[httpx.AsyncClient, Secret, Mapping[str, str], str], BillSource]


SIDES = (
    Side("openai", openai_usage.KEY, openai_usage.BASE_URL, openai_usage.OpenAiUsage),
    Side(
        "anthropic", anthropic_usage.KEY, anthropic_usage.BASE_URL, anthropic_usage.AnthropicUsage
    ),
)


class DayOfCosts(Value):
    """What a day cost by our ledger, and by the provider: for information."""

    day: str
    ours: int
    theirs: int | None


class Findings(Value):
    """Every count that differs, and the money of each day."""

    differences: list[CostDifference]
    costs: list[DayOfCosts]


@costs.group()
def reconcile() -> None:
    """Compare the ledger with what providers say. Exits with 1 if anything differs."""


def _command(side: Side) -> click.Command:
    """Return the command that compares with a provider."""

    @click.command(side.name, help=f"Compare the tokens of each day with what {side.name} counted.")
    @click.option("--since", metavar="DATE", help="From this day in UTC on.  [30 days ago]")
    @click.option("--until", metavar="DATE", help="Up to this day, excluded.  [today]")
    @click.option(
        "--key",
        "keys",
        multiple=True,
        metavar="NAME=ID",
        help="Tell keys apart: the name of a secret, and the provider's id of that key.",
    )
    @click.option("--base-url", default=side.base_url, show_default=True)
    @click.option("--json", "as_json", is_flag=True, help="Print JSON.")
    @with_session
    def command(
        session: Session,
        since: str | None,
        until: str | None,
        keys: Sequence[str],
        base_url: str,
        *,
        as_json: bool,
    ) -> None:
        span, secret, names = _span(since, until), _admin_key(side), _keys(keys)

        async def body(client: Client) -> Findings:
            async with httpx.AsyncClient(trust_env=False) as http:
                source = side.source(http, secret, names, base_url)
                return await reconciled(client, session.tenant, side.name, source, span, names)

        _tell(session.run(body), as_json=as_json)

    return command


for _side in SIDES:
    reconcile.add_command(_command(_side))


@reconcile.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def aws(session: Session, file: Path, *, as_json: bool) -> None:
    """Compare the rates for Bedrock of the book in force with a price list FILE of AWS.

    Such files are public: /offers/v1.0/aws/AmazonBedrock/current/<region>/index.json at
    pricing.us-east-1.amazonaws.com.
    """
    try:
        data = files.read(file, most=MOST_BYTES)
        prices = bounds.decode(data, type=price_list.PriceList, containers=MOST_CONTAINERS)
    except ProblemError as error:
        leave(error)
    except msgspec.DecodeError as error:
        leave(problem("validation", f"{file} is no price list: {error}"))
    found = price_list.compared(prices, prices_of(session, CURRENT), system_clock())
    if as_json:
        rendering.json(found._asdict())
    else:
        rows = (
            (one.row, *one.offered[1:4], one.ours, f"{one.offered.cost.normalize():f}")
            for one in found.differences
        )
        titles = ("row", "region", "bucket", "variant", "ours, pico-dollars for 1,000", "AWS")
        rendering.table(titles, rows)
        rendering.line(
            f"{found.equal} rates are equal; unknown models: {', '.join(found.unknown) or '-'}"
        )
    if found.differences:
        raise click.exceptions.Exit(EXIT_FAILURE)


async def reconciled(
    client: Client,
    tenant: str,
    provider: str,
    source: BillSource,
    span: TimeSpan,
    keys: Mapping[str, str],
) -> Findings:
    """Compare a provider's counts with ours, day by day.

    Raises:
        ProblemError: one of the two refuses, or has too much for one answer.
    """
    theirs, spent = await source.counts(span), await source.costs(span)
    ours: list[tuple[TimeSlot, Counts]] = []
    money: list[DayOfCosts] = []
    day = span.since
    while day < span.until:
        name = f"{day:%Y-%m-%d}"
        report = await _of_day(
            client, tenant, provider, TimeSpan(day, day + DAY), by_key=bool(keys)
        )
        ours += our_counts(name, report.lines, by_key=bool(keys))
        money.append(DayOfCosts(day=name, ours=report.total.cost_pico, theirs=spent.get(name)))
        day += DAY
    return Findings(differences=compared(ours, theirs), costs=money)


async def _of_day(
    client: Client, tenant: str, provider: str, day: TimeSpan, *, by_key: bool
) -> CostReport:
    question = ReportCosts(
        group_by=["model_served", "tier", *(("key",) if by_key else ())],
        provider=provider,
        since=f"{day.since:%Y-%m-%dT%H:%M}Z",
        until=f"{day.until:%Y-%m-%dT%H:%M}Z",
        limit=1000,
    )
    report: CostReport = await client.request(tenant, question, timeout=ASK_SECONDS)
    if report.rest is not None:
        raise problem("validation", f"{question.since} has more groups than one answer holds")
    return report


def _span(since: str | None, until: str | None) -> TimeSpan:
    today = system_clock().replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        span = span_of(since, until, UTC, today)
    except ValueError as error:
        leave(problem("validation", str(error), field="since"))
    if any(at != at.replace(hour=0, minute=0, second=0, microsecond=0) for at in span):
        leave(problem("validation", "providers count by whole days in UTC", field="since"))
    return span


def _admin_key(side: Side) -> Secret:
    text = os.environ.get(side.variable)
    if not text:
        leave(ConfigError(side.variable, "an admin key of the organization is needed for this"))
    return Secret(text)


def _keys(pairs: Sequence[str]) -> dict[str, str]:
    """Return our names of keys by the provider's ids."""
    names: dict[str, str] = {}
    for pair in pairs:
        name, equals, theirs = pair.partition("=")
        if not (name and equals and theirs):
            raise click.BadParameter(f"{pair!r} must be NAME=ID", param_hint="--key")
        names[theirs] = name
    return names


def _tell(found: Findings, *, as_json: bool) -> None:
    if as_json:
        rendering.json(found)
    else:
        rows = ((*one.slot, one.what, one.ours, one.theirs) for one in found.differences)
        rendering.table(("day", "key", "model", "tier", "what", "ours", "theirs"), rows)
        days = (
            (one.day, usd(one.ours), "" if one.theirs is None else usd(one.theirs))
            for one in found.costs
            if one.ours or one.theirs
        )
        rendering.table(("day", "our cost", "their cost"), days)
    if found.differences:
        raise click.exceptions.Exit(EXIT_FAILURE)

"""Questions about costs, from the journal of the accounts to the answer on the bus."""

import csv
import io
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
import structlog
from click.testing import CliRunner

from actors.cli.commands import main
from actors.pricing.adapters.costs import COSTS
from actors.pricing.adapters.reports import Reports
from actors.pricing.adapters.savings import Savings
from bus.client import Client
from bus.errors import ProblemError
from bus.jetstream import NatsBus
from bus.kv.prices import PricesInForce
from bus.requests.service import Service, endpoints_of
from bus.tasks import background
from bus.telemetry import logs
from bus.testing import NatsWorld
from schemas.ledger import Party
from schemas.reports import CostReport, Recommendations, RecommendSavings, ReportCosts
from schemas.usage import Usage
from tests.charges import BEGAN, charge, charged
from tests.integration.waiting import until
from tests.projections import Journalist, projecting

NOTHING: Mapping[str, str] = {}
SINCE, UNTIL = "2026-03-27", "2026-04-01"


class Desk:
    """Asks a pricing service whose ledger it writes."""

    def __init__(self, bus: NatsBus, url: str) -> None:
        self.ledger = Journalist(bus)
        self._client = Client(bus.transport)
        self._environment = {"NATS_URL": url, "CALLBOARD_TENANT": "acme"}

    async def type(
        self, *arguments: str, code: int = 0, environment: Mapping[str, str] = NOTHING
    ) -> str:
        """Run a command as a person does, and return what it prints."""
        return await anyio.to_thread.run_sync(self._run, arguments, code, environment)

    def _run(self, arguments: tuple[str, ...], code: int, environment: Mapping[str, str]) -> str:
        handlers, level = logging.root.handlers[:], logging.root.level
        # This process is the service as well, and what that logs is no output of the command.
        logs.configure("error", "console")
        try:
            done = CliRunner().invoke(main, arguments, env={**self._environment, **environment})
        finally:
            structlog.reset_defaults()
            logging.root.handlers[:] = handlers
            logging.root.setLevel(level)
        assert done.exit_code == code, (done.output, done.exception)
        return done.output

    async def recommend(self) -> Recommendations:
        return await self._client.request("acme", RecommendSavings(since=SINCE, until=UNTIL))

    async def report(self, **asked: Any) -> CostReport:
        span: dict[str, Any] = {"since": SINCE, "until": UNTIL}
        question = ReportCosts(**span | asked)
        return await self._client.request("acme", question)


@pytest.fixture
async def desk(own_nats: NatsWorld, tmp_path: Path) -> AsyncGenerator[Desk]:
    async with pricing_desk(own_nats, tmp_path) as opened:
        yield opened


@asynccontextmanager
async def pricing_desk(own_nats: NatsWorld, tmp_path: Path) -> AsyncGenerator[Desk]:
    """Run what answers about costs, on a server of its own."""
    async with own_nats.process() as bus, projecting(bus, tmp_path / "copy", COSTS) as costs:
        savings = Savings(costs, lambda: PricesInForce().prices, bus.clock)
        answering = (*endpoints_of(Reports(costs, bus.clock)), *endpoints_of(savings))
        service = Service("pricing", answering, bus)

        async def serve() -> None:
            await service.run(bus.nats.client)

        async with background(serve):
            await until(lambda: not service.not_ready_reason())
            yield Desk(bus, own_nats.server.urls[0])


async def test_each_charge_is_in_the_report_that_is_asked_for_after_it(desk: Desk):
    for number in range(5):
        event = charged(charge(1_000), execution=f"x{number}", completed=True)
        await desk.ledger.write(number % 2, [event])
        report = await desk.report()
        assert (report.total.cost_pico, report.behind_commits) == (1000 * (number + 1), 0)
        assert report.total.cost_per_success_pico == 1000


async def test_costs_are_grouped_by_the_days_of_a_time_zone_and_by_model(desk: Desk):
    evening = BEGAN.replace(hour=22, minute=59), BEGAN.replace(hour=23, minute=1)
    for at, model in zip(evening, ("gpt-4o", "gpt-4o-mini"), strict=True):
        await desk.ledger.write(0, [charged(charge(7, model), at=at, party=Party(user="ada"))])
        await desk.ledger.write(1, [charged(charge(5), at=at)], tenant="bolt")

    report = await desk.report(group_by=["day", "model"], time_zone="Europe/Berlin")

    assert [(line.group, line.totals.cost_pico) for line in report.lines] == [
        ({"day": "2026-03-27", "model": "gpt-4o"}, 7),
        ({"day": "2026-03-28", "model": "gpt-4o-mini"}, 7),
    ]
    assert report.total.cost_pico == 14


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"since": "2026-13-01"}, "since"),
        ({"since": "yesterday"}, "since"),
        ({"since": "2026-05-01"}, "since"),
        ({"since": "2020-01-01"}, "since"),
        ({"since": "2025-11-01", "group_by": ["hour"]}, "since"),
        ({"group_by": ["day", "hour"]}, "group_by"),
        ({"group_by": ["model", "model"]}, "group_by"),
        ({"group_by": ["price"]}, "group_by[0]"),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused_and_the_field_is_named(
    desk: Desk, asked: dict[str, Any], field: str
):
    with pytest.raises(ProblemError) as refused:
        await desk.report(**asked)

    assert (refused.value.problem.code, refused.value.problem.field) == ("validation", field)


async def test_recommendations_price_the_ledger_by_the_book_in_force(desk: Desk):
    one = charge(7, "gpt-4o", row="openai/gpt-4o", usage=Usage(input=1_000_000))
    await desk.ledger.write(0, [charged(one, charge(7, "unheard-of"))])

    answer = await desk.recommend()

    assert (answer.examined_calls, answer.skipped_calls) == (1, 1)
    batch = next(each for each in answer.recommendations if each.kind == "batch")
    assert (answer.cost_pico, batch.saving_pico) == (2_500_000_000_000, 1_250_000_000_000)
    assert answer.book_id == PricesInForce().prices.book_id


async def test_without_dates_the_last_thirty_days_count(desk: Desk, own_nats: NatsWorld):
    async with own_nats.process() as bus:
        now = bus.clock()
    for days in (1, 29, 32):
        await desk.ledger.write(0, [charged(charge(1), at=now - timedelta(days=days))])

    assert (await desk.report(since=None, until=None)).total.cost_pico == 2


async def test_costs_that_cannot_be_known_are_refused_unless_they_may_be_old(desk: Desk):
    await desk.ledger.write(0, [charged(charge(3))])
    await desk.report()
    await desk.ledger.skip(0)
    await desk.ledger.write(0, [charged(charge(4))])

    with pytest.raises(ProblemError, match="commit 3 follows commit 1"):
        await desk.report()
    old = await desk.report(fresh=False)

    assert (old.total.cost_pico, old.behind_commits) == (3, 1)


SPAN = ("--since", SINCE, "--until", UNTIL)


async def test_costs_are_shown_as_a_table_with_bars_and_exported_as_csv_and_json(desk: Desk):
    await desk.ledger.write(
        0, [charged(charge(3 * 10**12, "gpt-4o"), charge(10**12), completed=True)]
    )
    await desk.ledger.write(0, [charged(charge(None), execution="x2")])

    shown = await desk.type("costs", "--by", "model", "--trend", *SPAN)
    table = list(csv.DictReader(io.StringIO(await desk.type("costs", *SPAN, "--export", "csv"))))
    data = json.loads(await desk.type("costs", *SPAN, "--export", "json", "--user", "nobody"))

    lines = [line.split() for line in shown.splitlines() if line.strip()]
    assert lines[2][:3] == ["gpt-4o", "$3.00", "1"]
    assert lines[2][-1] == "█" * 20
    assert lines[3][:3] == ["gpt-4o-mini", "$1.00", "2"]
    assert lines[4][:3] == ["total", "$4.00", "3"]
    assert lines[5][0] == "1"
    assert "from nothing" in shown
    assert [(row["day"], row["cost_usd"], row["unpriced_calls"]) for row in table] == [
        ("2026-03-27", "4", "1")
    ]
    assert (data["total"]["cost_pico"], data["lines"]) == (0, [])


async def test_recommendations_are_shown_with_their_saving(desk: Desk):
    one = charge(7, "gpt-4o", row="openai/gpt-4o", usage=Usage(input=1_000_000))
    await desk.ledger.write(0, [charged(one)])

    shown = await desk.type("pricing", "recommend", *SPAN)

    assert "$1.25" in shown
    assert "gpt-4o" in shown
    assert "as a batch" in shown
    answer = await desk.type("pricing", "recommend", "--only", "examined_calls", *SPAN)
    assert answer == "1\n"


async def test_operators_see_how_far_projections_are_and_have_them_made_anew(desk: Desk):
    await desk.ledger.write(0, [charged(charge(3))])
    await desk.report()

    assert "current" in await desk.type("projections", "status")
    assert "current at" in await desk.type("projections", "rebuild", "costs")
    assert (await desk.report()).total.cost_pico == 3
    assert "not_found" in await desk.type("projections", "rebuild", "nothing", code=1)

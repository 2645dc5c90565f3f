"""Reports: every sum is the sum of what was charged, however it is grouped."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.core import report
from actors.pricing.core.periods import TimeSpan, periods
from schemas.ledger import Charge, Charged, Lapsed, Party, Reference, Voided
from schemas.reports import CostReport, GroupBy, ReportCosts, TimeUnit, Totals
from schemas.usage import Usage
from tests.charges import BEGAN, TENANT, charge, charged, database, events

BERLIN = ZoneInfo("Europe/Berlin")
SPAN = TimeSpan(BEGAN, BEGAN + timedelta(days=4))
GROUPS: list[list[GroupBy]] = [
    [],
    ["day"],
    ["model"],
    ["user", "project"],
    ["hour", "model"],
    ["provider", "weekday", "tier"],
    ["agent", "hour_of_day"],
]


def answered(events: Iterable[object], span: TimeSpan = SPAN, **asked: Any) -> CostReport:
    question = ReportCosts(**asked)
    units = [name for name in question.group_by if name in report.TIME_UNITS]
    parts = periods(span, BERLIN, units[0]) if units else None  # type: ignore[arg-type]
    statements = report.question(TENANT, question, span, parts)
    with database(events) as rows:
        found = [rows.execute(*one).fetchall() if one else [] for one in statements]
    rows.close()
    return report.report(question, span, report.FoundCosts(*found))


def expected(charges: Sequence[tuple[Charged, Charge | None, bool]]) -> Totals:
    """Sum up in the plainest way: charges with their events, and whether they come first."""
    calls = [call for _, call, _ in charges if call is not None]
    costs = sorted(call.cost_pico for call in calls if call.cost_pico is not None)
    usage = reduce(Usage.__add__, (call.usage for call in calls), Usage())
    successes = sum(event.completed for event, _, first in charges if first)
    return Totals(
        cost_pico=sum(costs),
        calls=len(calls),
        executions=len({event.reference.execution_id for event, _, _ in charges}),
        successes=successes,
        unpriced_calls=len(calls) - len(costs),
        estimated_calls=sum(call.usage.quality != "exact" for call in calls),
        usage=usage,
        reported_pico=sum(call.reported_pico or 0 for call in calls),
        cache_share=usage.cache_read / usage.prompt if usage.prompt else None,
        cost_per_success_pico=sum(costs) // successes if successes else None,
        p50_pico=_nearest_rank(costs, 50),
        p95_pico=_nearest_rank(costs, 95),
    )


def _nearest_rank(costs: Sequence[int], percent: int) -> int | None:
    return costs[-(-len(costs) * percent // 100) - 1] if costs else None


def _flat(events: Iterable[Charged], span: TimeSpan) -> list[tuple[Charged, Charge | None, bool]]:
    return [
        (event, one, number == 0)
        for event in events
        if span.since <= event.at < span.until
        for number, one in enumerate(event.charges or ([None] if event.completed else []))
    ]


def _values(event: Charged, call: Charge | None, by: Sequence[GroupBy]) -> tuple[str | None, ...]:
    local = event.at.astimezone(BERLIN)
    known: dict[str, str | None] = {
        "day": f"{local:%Y-%m-%d}",
        "hour": local.replace(minute=0).isoformat(timespec="minutes"),
        "weekday": f"{local:%a}",
        "hour_of_day": f"{local:%H}:00",
        "user": event.party.user,
        "project": event.party.project,
        "agent": event.party.agent_id,
        "provider": call.provider if call else None,
        "model": call.model if call else None,
        "tier": _tier(call) if call else None,
    }
    return tuple(known[name] for name in by)


def _tier(call: Charge) -> str:
    if call.batch:
        return "batch" if call.tier in (None, "batch") else f"batch+{call.tier}"
    return call.tier or "standard"


@pytest.mark.parametrize("by", GROUPS, ids=lambda by: "+".join(by) or "nothing")
@settings(max_examples=30)
@given(happened=st.lists(events(), max_size=12))
def test_every_group_and_the_total_are_what_was_charged(by: list[GroupBy], happened: list[Charged]):
    groups: defaultdict[tuple[str | None, ...], list[Any]] = defaultdict(list)
    for one in _flat(happened, SPAN):
        groups[_values(one[0], one[1], by)].append(one)

    answer = answered(happened, group_by=by)

    assert answer.total == expected(_flat(happened, SPAN))
    assert {tuple(line.group.values()): line.totals for line in answer.lines} == (
        {group: expected(charges) for group, charges in groups.items()} if by else {}
    )


@given(st.lists(events(), max_size=12), st.sampled_from(GROUPS[1:]), st.integers(1, 4))
def test_lines_and_rest_sum_up_to_the_total(happened: list[Charged], by: list[GroupBy], limit: int):
    answer = answered(happened, group_by=by, limit=limit)

    parts = [line.totals for line in answer.lines] + ([answer.rest] if answer.rest else [])
    names = ("cost_pico", "calls", "successes", "unpriced_calls", "reported_pico")
    assert [sum(getattr(part, name) for part in parts) for name in names] == [
        getattr(answer.total, name) for name in names
    ]
    assert reduce(Usage.__add__, (part.usage for part in parts), Usage()) == answer.total.usage


@given(st.lists(events(), max_size=8))
def test_a_filter_leaves_what_its_group_would_hold(happened: list[Charged]):
    by_user = answered(happened, group_by=["user"])

    for line in by_user.lines:
        if line.group["user"] is not None:
            assert answered(happened, user=line.group["user"]).total == line.totals


def test_another_tenant_sees_nothing_of_it():
    question = report.question("bolt", ReportCosts(), SPAN, None)

    with database([charged(charge())]) as rows:
        assert rows.execute(*question.total).fetchone()[:5] == (0, 0, 0, 0, 0)
    rows.close()


def test_a_span_is_compared_with_the_one_before_it():
    half = TimeSpan(BEGAN + timedelta(days=2), BEGAN + timedelta(days=4))
    spent = [
        charged(charge(100), at=BEGAN),
        charged(charge(300), at=BEGAN + timedelta(days=2)),
        charged(charge(100), at=BEGAN + timedelta(days=3)),
    ]

    trend = answered(spent, span=half, trend=True).trend

    assert trend is not None
    assert (trend.previous.cost_pico, trend.change_pico, trend.change) == (100, 300, 3.0)
    assert (trend.daily_pico, trend.forecast_30d_pico) == (200, 6000)


def test_what_the_end_of_a_lease_has_booked_counts_until_it_is_known_what_was_spent():
    reference = Reference(execution_id="x1", step=1, attempt=1, at=BEGAN)
    lapsed = Lapsed(
        reference=reference, party=Party(user="ada"), at=BEGAN, held_pico=9, booked_pico=9
    )

    def cost(*events: object) -> tuple[int, int, int]:
        total = answered(events).total
        return total.cost_pico, total.calls, total.estimated_calls

    assert cost(lapsed) == (9, 0, 1)
    assert cost(lapsed, charged(charge(4), booked=9)) == (4, 1, 0)
    assert cost(lapsed, Voided(reference=reference, at=BEGAN, booked_pico=9)) == (0, 0, 0)


UNITS: list[TimeUnit] = ["hour", "day", "week", "month", "weekday", "hour_of_day"]
ZONES = ["UTC", "Europe/Berlin", "America/Sao_Paulo", "Asia/Kolkata", "Australia/Lord_Howe"]


@given(
    st.sampled_from(UNITS),
    st.sampled_from(ZONES),
    st.integers(0, 400 * 24 * 60),
    st.integers(1, 40 * 24 * 60),
)
def test_periods_cover_their_span_without_gap_or_overlap(
    unit: TimeUnit, zone: str, minutes: int, length: int
):
    since = BEGAN + timedelta(minutes=minutes)
    span = TimeSpan(since, since + timedelta(minutes=length))

    found = periods(span, ZoneInfo(zone), unit)

    assert (found[0].since, found[-1].until) == span
    assert [one.until for one in found[:-1]] == [one.since for one in found[1:]]
    assert all(one.since < one.until for one in found)
    if unit == "hour":
        # Lines are sorted by it: where zones are half an hour apart, too.
        orders = [one.order for one in found]
        assert orders == sorted(set(orders))


@given(st.sampled_from(ZONES), st.integers(0, 400 * 24 * 4), st.integers(1, 20))
def test_the_day_of_a_moment_is_that_of_its_zone(zone: str, quarters: int, days: int):
    since = BEGAN + timedelta(minutes=15 * quarters)
    span = TimeSpan(since, since + timedelta(days=days))

    for one in periods(span, ZoneInfo(zone), "day"):
        last = one.until - timedelta(microseconds=1)
        local = [at.astimezone(ZoneInfo(zone)).date().isoformat() for at in (one.since, last)]
        assert local == [one.name, one.name]


def test_the_hour_that_clocks_skip_is_not_there_and_that_which_they_repeat_twice():
    spring = TimeSpan(*(BEGAN.replace(day=day, hour=0, minute=0) for day in (29, 30)))
    autumn = TimeSpan(*(BEGAN.replace(month=10, day=day, hour=0, minute=0) for day in (25, 26)))

    names = [one.name[11:] for one in periods(spring, BERLIN, "hour")]
    assert names[:3] == ["01:00+01:00", "03:00+02:00", "04:00+02:00"]
    names = [one.name[11:] for one in periods(autumn, BERLIN, "hour")]
    assert names[:3] == ["02:00+02:00", "02:00+01:00", "03:00+01:00"]

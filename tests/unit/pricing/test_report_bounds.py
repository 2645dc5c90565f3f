"""A report is bounded by its groups: labels are whatever callers write."""

from datetime import timedelta

import pytest

from actors.pricing.adapters import reports
from actors.pricing.core import report
from actors.pricing.core.periods import TimeSpan
from bus.errors import ProblemError
from schemas.ledger import Party
from schemas.reports import CostReport, ReportCosts
from tests.charges import BEGAN, TENANT, charge, charged, database

SPAN = TimeSpan(BEGAN, BEGAN + timedelta(days=1))


def answered(users: int) -> CostReport:
    bills = [charged(charge(5), execution=f"x{n}", party=Party(user=f"u{n}")) for n in range(users)]
    asked = ReportCosts(group_by=["user"])
    question = report.question(TENANT, asked, SPAN, None)
    with database(bills) as rows:
        return reports._answer(asked, SPAN, question, rows)


def test_more_groups_than_a_report_can_have_are_refused_with_the_figure(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(reports, "MOST_GROUPS", 3)

    assert len(answered(3).lines) == 3
    with pytest.raises(ProblemError) as refused:
        answered(4)

    assert (refused.value.problem.code, refused.value.problem.field) == ("validation", "group_by")
    assert "3 groups" in refused.value.problem.message


def test_what_is_disputed_is_summed_beside_the_cost():
    bills = [
        charged(charge(5, disputed_pico=7), execution="x1"),
        charged(charge(6, disputed_pico=9 * 10**18), execution="x2"),
    ]
    asked = ReportCosts(group_by=["model"])
    question = report.question(TENANT, asked, SPAN, None)

    with database(bills) as rows:
        found = reports._answer(asked, SPAN, question, rows)

    assert (found.total.cost_pico, found.total.disputed_pico) == (11, 9 * 10**18 + 7)
    assert [each.totals.disputed_pico for each in found.lines] == [9 * 10**18 + 7]

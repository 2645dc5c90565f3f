"""``callboard budgets``: what may be spent, by whom and how often."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from typing import Any

import click

from actors.cli import shown
from actors.cli.agents import built
from actors.cli.session import Session, with_session
from bus.client import Client
from bus.connection import NatsTransport
from bus.ids import new_id
from schemas.budgets import (
    AdjustBudget,
    BudgetList,
    BudgetState,
    GetBudget,
    Limits,
    ListBudgets,
    RemoveBudget,
    SetBudget,
    SetLimits,
    TopUpBudget,
)
from schemas.ids import PLATFORM

PICO = 10**12
SCOPES = click.Choice(["global", "project", "user", "agent"])
WINDOWS = click.Choice(["hourly", "daily", "weekly", "monthly", "total"])
TITLES = ("budget", "scope", "window", "kind", "limit", "spent", "held", "left", "spent up by")
LIMITS = ("requests_per_minute", "requests_per_hour", "tokens_per_minute", "concurrent")


class Dollars(click.ParamType[int]):
    """An amount in dollars, such as 12.50, as pico-dollars."""

    name = "DOLLARS"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Return the amount; one that is none ends the command."""
        try:
            return value if isinstance(value, int) else int(Decimal(value) * PICO)
        except (InvalidOperation, ValueError, OverflowError):
            self.fail(f"{value!r} is no amount of dollars", param, ctx)


@click.group()
@click.option("--platform", is_flag=True, help="Those over all tenants; for operators.")
@click.pass_context
def budgets(context: click.Context, *, platform: bool) -> None:
    """Set, list and correct budgets and limits.

    To the platform a project is a tenant. Its budgets need a user of the fleet.
    """
    session = context.find_object(Session)
    if platform and session is not None:
        context.obj = replace(session, tenant=PLATFORM)


@budgets.command("set")
@click.argument("budget_id", metavar="ID")
@click.option("--limit", "limit_pico", type=Dollars(), required=True, help="Of each window.")
@click.option("--scope", type=SCOPES, default="global", show_default=True)
@click.option("--name", help="Which project, user or agent; * gives one to each.")
@click.option("--window", type=WINDOWS, default="monthly", show_default=True)
@click.option("--hard/--soft", default=True, help="Refuse what it does not cover, or only tell.")
@click.option("--threshold", "thresholds", type=int, multiple=True, help="Per cent that are told.")
@click.option("--alert", "alert_pico", type=Dollars(), help="An amount that is told.")
@click.option("--zone", help="Time zone of the windows, such as Europe/Berlin.")
@with_session
def set_(session: Session, budget_id: str, **options: Any) -> None:
    """Create a budget, or change one."""
    options["thresholds"] = list(options["thresholds"]) or None
    _show(session, built(SetBudget, {"id": budget_id, **options}))


@budgets.command()
@click.argument("budget_id", metavar="ID")
@with_session
def get(session: Session, budget_id: str) -> None:
    """Print a budget and its balances as JSON."""
    shown.json(_asked(session, GetBudget(id=budget_id)))


@budgets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print the reply as JSON.")
@with_session
def list_(session: Session, *, as_json: bool) -> None:
    """List budgets with their newest windows, and limits."""
    found: BudgetList = _asked(session, ListBudgets())
    if as_json:
        shown.json(found)
        return
    shown.table(TITLES, (row for state in found.budgets for row in rows(state)))
    for line in (line for state in found.budgets for line in disputes(state)):
        shown.line(line)
    if found.limits or found.ceilings:
        shown.table(("scope", *LIMITS), _limits_rows(found))


@budgets.command()
@click.argument("budget_id", metavar="ID")
@with_session
def remove(session: Session, budget_id: str) -> None:
    """Lift a budget."""
    _asked(session, RemoveBudget(id=budget_id))
    shown.line(f"{budget_id}: removed")


@budgets.command("top-up")
@click.argument("budget_id", metavar="ID")
@click.argument("amount_pico", metavar="DOLLARS", type=Dollars())
@click.option("--name", help="To whose window, where the budget is for each.")
@click.option("--reason", help="Why; it stays in the ledger.")
@click.option("--entry", help="Id of the entry: the same one is entered once.")
@with_session
def top_up(session: Session, entry: str | None, **options: Any) -> None:
    """Add to the present window of a budget."""
    _show(session, built(TopUpBudget, {"id": entry or new_id(), **options}))


@budgets.command()
@click.argument("budget_id", metavar="ID")
@click.argument("amount_pico", metavar="DOLLARS", type=Dollars())
@click.option("--name", help="Whose window, where the budget is for each.")
@click.option("--reason", required=True, help="Why; it stays in the ledger.")
@click.option("--entry", help="Id of the entry: the same one is entered once.")
@with_session
def adjust(session: Session, entry: str | None, **options: Any) -> None:
    """Correct what the present window of a budget has spent; -- before a negative amount."""
    _show(session, built(AdjustBudget, {"id": entry or new_id(), **options}))


@budgets.command()
@click.option("--scope", type=SCOPES, default="global", show_default=True)
@click.option("--name", help="Which project, user or agent; * for each.")
@click.option("--requests-per-minute", type=int)
@click.option("--requests-per-hour", type=int)
@click.option("--tokens-per-minute", type=int)
@click.option("--concurrent", type=int, help="Attempts at a time.")
@with_session
def limits(session: Session, **options: Any) -> None:
    """Set the limits of a scope; what is left out is not limited."""
    found: BudgetList = _asked(session, built(SetLimits, options))
    shown.table(("scope", *LIMITS), _limits_rows(found))


def rows(state: BudgetState) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each window of a budget, or one for a budget nobody has used. Pure."""
    budget = state.budget
    kind = "hard" if budget.hard else "soft"
    for each in state.balances:
        window = each.account.split("/")[1]
        yield (
            budget.id,
            _scope(budget.scope, each.name),
            f"{budget.window} {window}" if window != budget.window else window,
            kind,
            dollars(budget.limit_pico + each.granted_pico),
            dollars(each.spent_pico),
            dollars(each.held_pico),
            dollars(each.available_pico),
            each.exhausted_at,
        )
    if not state.balances:
        scope = _scope(budget.scope, budget.name)
        limit = dollars(budget.limit_pico)
        yield budget.id, scope, budget.window, kind, limit, None, None, limit, None


def dollars(pico: int) -> str:
    """Return an amount as dollars, to a hundredth of a cent. Pure."""
    return f"{Decimal(pico) / PICO:,.4f}"


def _limits_rows(found: BudgetList) -> Iterator[tuple[Any, ...]]:
    """Yield a row for each scope; the operator's hold beside the tenant's own. Pure."""
    for limits in found.limits:
        yield _limits_row(_scope(limits.scope, limits.name), limits)
    for limits in found.ceilings:
        yield _limits_row("operator", limits)


def _limits_row(scope: str, found: Limits) -> tuple[Any, ...]:
    return scope, *(getattr(found, name) for name in LIMITS)


def disputes(state: BudgetState) -> Iterator[str]:
    """Yield a line for each window of which more was told than is booked. Pure."""
    for each in state.balances:
        if each.disputed_pico:
            told = dollars(each.disputed_pico)
            yield f"{each.account}: {told} disputed: told by a host without a secret, not booked"


def _scope(kind: str, name: str | None) -> str:
    return kind if name is None else f"{kind} {name}"


def _asked(session: Session, wanted: Any) -> Any:
    async def body(transport: NatsTransport) -> Any:
        return await Client(transport).request(session.tenant, wanted)

    runs = session.run_as_fleet if session.tenant == PLATFORM else session.run_connected
    return runs(body)


def _show(session: Session, wanted: Any) -> None:
    state: BudgetState = _asked(session, wanted)
    shown.table(TITLES, rows(state))
    for line in disputes(state):
        shown.line(line)

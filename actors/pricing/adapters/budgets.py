"""Answers what concerns budgets and limits, from the owner of the tenant's account."""

from typing import Any, TypeVar

import msgspec

from actors.pricing.adapters.account import zone
from actors.pricing.adapters.notifying import TermsNotifier
from bus.codec import decode
from bus.errors import ProblemError, problem
from bus.ids import new_id
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.requests.service import answers
from schemas.base import Message, Request
from schemas.budgets import (
    AdjustBudget,
    Budget,
    BudgetGone,
    BudgetList,
    BudgetState,
    GetBudget,
    Limits,
    ListBudgets,
    RemoveBudget,
    SetBudget,
    SetLimits,
    TopUpBudget,
    scope_fault,
)
from schemas.ledger import (
    ACCOUNT_KEY,
    Adjust,
    DropBudget,
    LookAtBudgets,
    LookAtTerms,
    PutBudget,
    PutLimits,
    TopUp,
)
from schemas.terms import Terms

PLATFORM_SCOPES = ("global", "project")
"""Budgets of the platform are for all tenants together, for one of them, or for each."""

R = TypeVar("R", bound=Message)
T = TypeVar("T")


class Budgets:
    """Sets, lists and corrects the budgets and limits of tenants."""

    def __init__(
        self, owners: Owners, notifier: TermsNotifier, clock: Clock, *, timeout: float
    ) -> None:
        self._owners = owners
        self._notifier = notifier
        self._clock = clock
        self._timeout = timeout

    @answers(SetBudget)
    async def do_set(self, caller: Caller, wanted: SetBudget) -> BudgetState:
        """Let a budget hold, for every execution that begins from now on."""
        budget, given = _as(Budget, wanted), _given(wanted)
        if caller.principal.is_operator and budget.scope not in PLATFORM_SCOPES:
            raise problem("validation", "the platform's projects are tenants", field="scope")
        zone(budget.zone)
        put = PutBudget(budget=budget, given=list(given))
        return await self._ruled(caller, put, BudgetState)

    @answers(RemoveBudget)
    async def do_remove(self, caller: Caller, wanted: RemoveBudget) -> BudgetGone:
        """Lift a budget."""
        return await self._ruled(caller, DropBudget(id=wanted.id), BudgetGone)

    @answers(SetLimits)
    async def do_limits(self, caller: Caller, wanted: SetLimits) -> BudgetList:
        """Let limits hold, for every execution that begins from now on."""
        fault = scope_fault(wanted.scope, wanted.name)
        if fault is not None:
            raise ProblemError(fault)
        put = PutLimits(limits=_as(Limits, wanted))
        return await self._ruled(caller, put, BudgetList)

    @answers(GetBudget)
    async def do_get(self, caller: Caller, wanted: GetBudget) -> BudgetState:
        """Read a budget."""
        return await self._asked(caller, LookAtBudgets(id=wanted.id), BudgetState)

    @answers(ListBudgets)
    async def do_list(self, caller: Caller, wanted: ListBudgets) -> BudgetList:
        """Read all budgets and limits."""
        del wanted
        return await self._asked(caller, LookAtBudgets(), BudgetList)

    @answers(TopUpBudget)
    async def do_top_up(self, caller: Caller, wanted: TopUpBudget) -> BudgetState:
        """Add to a window."""
        top_up = TopUp(
            id=wanted.id,
            budget_id=wanted.budget_id,
            amount_pico=wanted.amount_pico,
            at=self._clock(),
            name=wanted.name,
            reason=wanted.reason,
        )
        return await self._asked(caller, top_up, BudgetState)

    @answers(AdjustBudget)
    async def do_adjust(self, caller: Caller, wanted: AdjustBudget) -> BudgetState:
        """Correct what a window has spent."""
        adjust = Adjust(
            id=wanted.id,
            budget_id=wanted.budget_id,
            amount_pico=wanted.amount_pico,
            at=self._clock(),
            reason=wanted.reason,
            name=wanted.name,
        )
        return await self._asked(caller, adjust, BudgetState)

    async def _ruled(self, caller: Caller, wanted: msgspec.Struct, reply: type[R]) -> R:
        """Change the rules, and return when every process that spends goes by them."""
        answer = await self._asked(caller, wanted, reply)
        terms = await self._asked(caller, LookAtTerms(), Terms)
        await self._notifier.notify(terms)
        return answer

    async def _asked(self, caller: Caller, wanted: msgspec.Struct, reply: type[T]) -> T:
        envelope = caller.command(new_id(), ACCOUNT_KEY, wanted)
        return decode(reply, await caller.ask(self._owners, envelope, timeout=self._timeout))


def _as(kind: type[T], wanted: Request) -> T:
    """Return what a request asks for; its fields are those of the thing itself."""
    return kind(**_given(wanted))


def _given(wanted: Request) -> dict[str, Any]:
    """Return the fields of a request that were not left out."""
    fields = msgspec.structs.asdict(wanted)
    return {name: value for name, value in fields.items() if value is not msgspec.UNSET}

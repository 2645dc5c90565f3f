"""The golden life of an account: every event of its journal, a change of owner and a snapshot."""

from datetime import timedelta

from actors.pricing.adapters.account import account_entity, zone
from actors.pricing.core.decisions import LedgerRules
from bus.requests.rpc import command
from bus.shard.turn import PendingCommand
from schemas.budgets import Budget, Limits
from schemas.escrow import BlockAnswered, Recall, RecallAnswered, ReturnAnswered
from schemas.ids import PLATFORM
from schemas.ledger import (
    ACCOUNT_KEY,
    AccountCommand,
    Adjust,
    Charge,
    DropBudget,
    Extend,
    Lapse,
    Party,
    PutBudget,
    PutLimits,
    Reference,
    Reserve,
    Settle,
    TermsAnswered,
    TopUp,
    Void,
)
from schemas.problems import Problem
from schemas.usage import Usage
from tests.contract.recorder import BEGAN, Recorder

RULES = LedgerRules(
    zones=zone,
    limits=Limits(requests_per_hour=1000),
    alert=Budget(id="cost-alert", limit_pico=90, hard=False, thresholds=[100]),
)
ENTITY = account_entity(RULES)
ANN = Party(user="ann", project="apollo", agent_id="reviewer", session="monday")
DAY = Budget(id="day", limit_pico=200, window="daily", zone="Europe/Berlin", alert_pico=25)
EACH = Budget(id="each", limit_pico=70, scope="user", name="*", window="total", thresholds=[100])

ALL = Budget(id="all", limit_pico=80, window="monthly")
SHORT = Problem(code="budget_exceeded", message="nothing is left", details={"window": "monthly"})


def live(recorder: Recorder) -> None:
    """Live through it."""
    recorder.take_over()
    recorder.turn(*map(_pending, (PutBudget(budget=DAY), PutBudget(budget=EACH))))
    recorder.turn(_pending(PutLimits(limits=Limits(scope="user", name="*", concurrent=9))))
    recorder.turn(
        _pending(TermsAnswered(asked=3, revision=3)), _pending(TermsAnswered(asked=9, revision=9))
    )
    recorder.turn(_reserve("paid", 30), _reserve("voided", 10), _reserve("lapsed", 8, lease=7.0))
    recorder.turn(_reserve("refused", 60), _extend("paid", 1, 4, lease=50.0))
    recorder.turn(_settle("paid", 21), _pending(Void(reference=_reference("voided"))))
    recorder.turn(_pending(Lapse()), _pending(Void(reference=_reference("never"))), seconds=9)
    recorder.take_snapshot()
    recorder.turn(_settle("lapsed", 5), _settle("unheld", 6), _reserve("held", 12))
    recorder.take_over()
    _by_hand(recorder)
    _lent(recorder)
    recorder.turn(_settle("last", 80, completed=True), _settle("unpriced", None))
    recorder.turn(_pending(DropBudget(id="each")), _reserve("running", 3), seconds=86_400)


def _lent(recorder: Recorder) -> None:
    """Spend from a block of the platform, until it has no more to give."""
    recorder.turn(_pending(PutBudget(budget=ALL), PLATFORM))
    recorder.turn(_reserve("lent", 2, platform=True))
    recorder.turn(*(_pending(_block(name, 2), PLATFORM) for name in ("acme", "bolt")))
    recorder.turn(_pending(_block("cyd", 90), PLATFORM))
    recorder.turn(_pending(BlockAnswered(number=1, held_pico=30)))
    recorder.turn(_reserve("lent", 2, platform=True), _pending(Recall()))
    recorder.turn(_pending(RecallAnswered(tenant="acme"), PLATFORM))
    recorder.turn(_pending(ReturnAnswered(ask="acme.1.slice.1")), _settle("lent", 2))
    recorder.turn(_reserve("short", 2, platform=True), seconds=20)
    recorder.turn(_pending(BlockAnswered(number=2, problem=SHORT)))


def _block(tenant: str, least: int) -> Reserve:
    return Reserve(
        reference=_reference(tenant),
        party=Party(project=tenant),
        amount_pico=32 * least,
        least_pico=least,
        tokens=0,
        lease_until=BEGAN + timedelta(days=1),
    )


def _by_hand(recorder: Recorder) -> None:
    top_up = TopUp(id="t1", budget_id="day", amount_pico=40, at=BEGAN, reason="a long day")
    adjust = Adjust(id="a1", budget_id="each", amount_pico=-2, at=BEGAN, reason="ä", name="ann")
    recorder.turn(_pending(top_up), _pending(adjust), _pending(top_up))


def _pending(body: AccountCommand, tenant: str = "acme") -> PendingCommand:
    return PendingCommand(command("", tenant, ACCOUNT_KEY, body))


def _reference(name: str) -> Reference:
    return Reference(execution_id=name, step=1, attempt=1, at=BEGAN)


def _reserve(
    name: str, amount: int, lease: float = 90.0, *, platform: bool = False
) -> PendingCommand:
    until = BEGAN + timedelta(seconds=lease)
    reserve = Reserve(
        reference=_reference(name),
        party=ANN,
        amount_pico=amount,
        tokens=5,
        lease_until=until,
        platform=platform,
    )
    return _pending(reserve)


def _extend(name: str, slice: int, amount: int, lease: float) -> PendingCommand:  # noqa: A002  it is one
    until = BEGAN + timedelta(seconds=lease)
    extend = Extend(reference=_reference(name), slice=slice, amount_pico=amount, lease_until=until)
    return _pending(extend)


def _settle(name: str, cost: int | None, *, completed: bool = False) -> PendingCommand:
    charge = Charge(
        provider="openai",
        model="gpt-4o-mini",
        usage=Usage(input=12, output=2),
        cost_pico=cost,
        book_id="2f0b5e7a9c1d4e63",
        row="openai/gpt-4o-mini",
        unpriced=None if cost is not None else "no such model",
    )
    settle = Settle(
        reference=_reference(name), party=ANN, charges=[charge], at=BEGAN, completed=completed
    )
    return _pending(settle)

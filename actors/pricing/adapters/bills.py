"""Books bills of executions that no account has answered.

A bill is let go of once the account of its tenant has answered; until then the message comes again.
The account knows repeats, so that nothing is booked twice, whoever dies in between.
"""

import msgspec
import structlog

from bus.codec import decode, encode
from bus.errors import DeadlineError, ProblemError
from bus.ports import Bus, Delivery
from bus.requests.dead_letters import post_letter
from bus.requests.rpc import Owners
from bus.subjects import fill
from schemas.events import BillRefusedEvent
from schemas.journal import CommandEnvelope
from schemas.ledger import ACCOUNT_ENTITY, Settle, Void
from schemas.letters import undelivered
from schemas.problems import Problem

log = structlog.get_logger()

HANDED_OVER = "_cb.bill.*"

ANSWER_SECONDS = 10.0
"""An account finds a new owner in less; the message comes again after three times as long."""

_DUE = msgspec.json.Decoder[Settle | Void](Settle | Void)


class Bills:
    """Books bills to ``accounts``."""

    def __init__(self, bus: Bus, accounts: Owners) -> None:
        self._bus = bus
        self._accounts = accounts

    async def handed_over(self, delivery: Delivery) -> bool:
        """Book what an execution has handed over; say whether the message is done with."""
        try:
            envelope = decode(CommandEnvelope, delivery.data)
            due = _DUE.decode(envelope.body)
        except (ProblemError, msgspec.DecodeError) as unreadable:
            return _left(delivery, unreadable)
        return await self._book(envelope, due)

    async def _book(self, envelope: CommandEnvelope, due: Settle | Void) -> bool:
        try:
            await self._accounts.ask(envelope, timeout=ANSWER_SECONDS)
        except ProblemError as refused:
            if refused.problem.code == "unavailable":
                return False
            return await self._give_up(envelope, due, refused.problem)
        return True

    async def _give_up(
        self, envelope: CommandEnvelope, due: Settle | Void, problem: Problem
    ) -> bool:
        """Tell everybody of a bill that cannot be booked, and lay it aside."""
        outbox = self._bus.outbox
        if isinstance(due, Settle):
            await self._tell(envelope, due, problem)
        reason = f"{problem.code}: {problem.message}"
        letter = undelivered(envelope, ACCOUNT_ENTITY, reason, self._bus.clock())
        await post_letter(outbox, letter)
        try:
            await outbox.flush(timeout=ANSWER_SECONDS)
        except DeadlineError:
            return False
        return True

    async def _tell(self, envelope: CommandEnvelope, settle: Settle, problem: Problem) -> None:
        which = settle.reference
        priced = [charge.cost_pico for charge in settle.charges if charge.cost_pico is not None]
        event = BillRefusedEvent(
            execution_id=which.execution_id,
            step=which.step,
            attempt=which.attempt,
            error=problem,
            at=self._bus.clock(),
            cost_pico=sum(priced) if priced else None,
        )
        subject = fill(
            BillRefusedEvent.SUBJECT or "", tenant=envelope.tenant, execution_id=which.execution_id
        )
        await self._bus.outbox.post(subject, encode(event), message_id=envelope.id)


def _left(delivery: Delivery, error: ProblemError | msgspec.DecodeError) -> bool:
    """Let go of what nobody will ever be able to read."""
    log.warning("bills.unreadable", subject=delivery.subject, reason=str(error))
    return True

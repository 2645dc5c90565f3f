"""Books what embeddings have cost, from the public events that tell it.

A bill is let go of once the account of its tenant has answered; until then the event comes again.
The account knows repeats, so that nothing is booked twice, whoever dies in between.
"""

import structlog

from actors.pricing.core.embeddings import bill
from bus.codec import decode, encode
from bus.errors import DeadlineError, ProblemError
from bus.ports import Bus, Delivery
from bus.rpc import Owners, command
from bus.subjects import fill, parse, token
from bus.telemetry import metrics
from schemas.events import BillRefusedEvent, EmbeddedEvent
from schemas.fleet import DeadLetter
from schemas.journal import Mail
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, Settle
from schemas.problems import Problem

log = structlog.get_logger()

NAME = "bill-embeddings"
SUBJECT = "cb.*.events.llm.embedded.*"

ANSWER_SECONDS = 10.0
"""An account finds a new owner in less; the event comes again after three times as long."""


class EmbeddingBills:
    """Books embeddings to ``accounts``."""

    def __init__(self, bus: Bus, accounts: Owners) -> None:
        self._bus = bus
        self._accounts = accounts

    async def book(self, delivery: Delivery) -> bool:
        """Book an event; say whether that is done, for good or because it will never be."""
        named = parse(EmbeddedEvent.SUBJECT or "", delivery.subject) or {}
        try:
            event = decode(EmbeddedEvent, delivery.data)
            tenant, name = token(named["tenant"], "tenant"), token(event.id, "id")
        except ProblemError as unreadable:
            log.warning("embeddings.unreadable", reason=str(unreadable))
            return True
        settle = bill(event)
        mail = command(f"{name}.settle", tenant, ACCOUNT_KEY, settle)
        try:
            await self._accounts.ask(mail, timeout=ANSWER_SECONDS)
        except ProblemError as refused:
            if refused.problem.code == "unavailable":
                return False
            return await self._give_up(mail, settle, refused.problem)
        return True

    async def _give_up(self, mail: Mail, settle: Settle, problem: Problem) -> bool:
        """Tell everybody of a bill that cannot be booked, and lay it aside."""
        now, which = self._bus.clock(), settle.reference
        priced = [charge.cost_pico for charge in settle.charges if charge.cost_pico is not None]
        event = BillRefusedEvent(
            execution_id=which.execution_id,
            step=which.step,
            attempt=which.attempt,
            error=problem,
            at=now,
            cost_pico=sum(priced) if priced else None,
        )
        subject = fill(
            BillRefusedEvent.SUBJECT or "", tenant=mail.tenant, execution_id=which.execution_id
        )
        letter = DeadLetter(
            id=f"{mail.tenant}.{mail.id}",
            subject=f"_cb.cmd.{ACCOUNT_ENTITY}",
            reason=f"{problem.code}: {problem.message}",
            at=now,
            deliveries=1,
            body=encode(mail).decode(),
        )
        outbox = self._bus.outbox
        await outbox.post(subject, encode(event), message_id=mail.id)
        dead = f"_cb.dead.command.{ACCOUNT_ENTITY}"
        await outbox.post(dead, encode(letter), message_id=letter.id)
        try:
            await outbox.flush(timeout=ANSWER_SECONDS)
        except DeadlineError:
            return False
        metrics.DEAD_LETTERS.at(f"command.{ACCOUNT_ENTITY}").inc()
        return True

"""What embeddings have cost, as the account of a tenant books it. Pure.

Embeddings are a question, which nobody journals: the public event of their usage is their bill. Its
id names the request and the attempt, so that it is booked once however often it is told.
"""

from schemas.events import EmbeddedEvent
from schemas.ids import whole
from schemas.ledger import Charge, Party, Reference, Settle

STEP = 0
"""The steps of executions begin with 1."""

NOT_PRICED = "it was told before embeddings were priced"


def reference(event: EmbeddedEvent) -> Reference:
    """Return what the account knows an attempt of a request by."""
    request, _, attempt = event.id.rpartition("-")
    number = whole(attempt)
    if not request or number is None:
        return Reference(execution_id=event.id, step=STEP, attempt=1, at=event.at)
    return Reference(execution_id=request, step=STEP, attempt=number, at=event.at)


def bill(event: EmbeddedEvent) -> Settle:
    """Return what is to be booked for an attempt."""
    return Settle(
        reference=reference(event),
        party=Party(user=event.user, project=event.project),
        charges=event.charges or [_unpriced(event)],
        at=event.at,
        completed=event.error is None,
    )


def _unpriced(event: EmbeddedEvent) -> Charge:
    return Charge(
        provider=event.provider,
        model=event.model,
        model_served=event.model_served,
        usage=event.usage,
        unpriced=NOT_PRICED,
    )

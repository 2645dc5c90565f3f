"""How an execution ends of whose journal part cannot be read."""

from datetime import datetime

import msgspec

from actors.agents.core.restoring import recorded
from actors.agents.core.state import FIRST_STEP, Execution, with_callback
from schemas.executions import ENDED, ExecutionRecord
from schemas.lifecycle import Origin


def remains(
    origin: Origin, state: Execution | None, stored: ExecutionRecord | None, now: datetime
) -> Execution:
    """Return the most that is known: from the last readable ``state``, and what is ``stored``.

    An end that is stored holds. Otherwise the execution is still to be ended, under a revision and
    a segment above the stored ones, since lists and streams keep the newest.
    """
    if stored is None:
        return state or _unknown(origin, now)
    told = recorded(origin.tenant, stored)
    if stored.status in ENDED:
        # Bills that the account has answered already are harmless to repeat.
        if state is None:
            return told
        bills = state.spend.end().bills
        told = msgspec.structs.replace(
            told, spend=msgspec.structs.replace(told.spend, bills=bills), reply_to=state.reply_to
        )
        return with_callback(told)
    known = state or told
    return msgspec.structs.replace(
        known,
        revision=max(known.revision, stored.revision),
        next_segment=max(known.next_segment, stored.segment + 1),
    )


def nobodys(tenant: str, execution_id: str) -> Origin:
    """Return the origin of an execution of which nothing but its id is known."""
    return Origin(tenant=tenant, execution_id=execution_id, task="", digest="", max_attempts=1)


def _unknown(origin: Origin, now: datetime) -> Execution:
    return Execution(origin=origin, accepted_at=now, deadline=now, step=FIRST_STEP)

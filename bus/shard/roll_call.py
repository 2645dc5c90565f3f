"""Finding out which items a worker holds: the new owner of their shard asks it."""

import anyio

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import DeadlineError, UnavailableError
from bus.ports import Transport
from bus.shard.workforce import Workforce
from bus.subjects import offer_subject
from schemas.fleet import Held, RollCall

LONGEST_SECONDS = 10.0
"""Whoever lives and does not answer for so long is not waited for."""


async def ask_holder(
    worker: str, call: RollCall, transport: Transport, workforce: Workforce, timing: Timing
) -> Held | None:
    """Return what a worker says that it holds; None if it has gone, or is silent for long.

    It was met before, so the workforce tells when it has gone.
    """
    question = encode(call)
    with anyio.move_on_after(LONGEST_SECONDS):
        while workforce.knows(worker):
            try:
                answer = await transport.request(
                    offer_subject(worker), question, timeout=timing.roll_call_seconds
                )
            except DeadlineError:
                continue
            except UnavailableError:
                await anyio.sleep(timing.roll_call_seconds)
            else:
                return decode(Held, answer.data)
    return None

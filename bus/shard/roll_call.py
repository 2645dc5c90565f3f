"""Finding out which items are with which worker: owners ask, workers answer with what they hold."""

from collections import defaultdict
from math import inf

import anyio

from bus.codec import decode, encode
from bus.config import Timing
from bus.ports import Delivery, Transport
from bus.shard.workforce import Workforce
from bus.waiting import Wakeup
from schemas.fleet import ROLL_CALL_SUBJECT, Held, RollCall

LONGEST_SECONDS = 10.0
"""Whoever lives and does not answer for so long is not waited for."""


async def holders(
    transport: Transport, name: str, workforce: Workforce, timing: Timing
) -> dict[str, str]:
    """Return the worker of each item that a worker holds, once all that live have answered.

    ``name`` is this call's alone. Who has gone is not waited for, so a worker that is silent delays
    this until it is given up.
    """
    answers: defaultdict[str, set[str]] = defaultdict(set)
    answered = Wakeup()
    answer_to = f"_cb.sys.held.{name}"

    async def note(delivery: Delivery) -> None:
        held = decode(Held, delivery.data)
        answers[held.worker].update(held.items)
        answered.set()

    async with transport.subscription(answer_to, note):
        call, asked = encode(RollCall(answer_to=answer_to)), -inf
        with anyio.move_on_after(LONGEST_SECONDS):
            while not workforce.living <= answers.keys():
                again = asked + timing.roll_call_seconds
                if anyio.current_time() >= again:
                    await transport.publish(ROLL_CALL_SUBJECT, call)
                    asked = anyio.current_time()
                    continue
                await answered.wait(again - anyio.current_time())
    return {item: worker for worker, items in answers.items() for item in items}

"""Finding out which items are with which worker: owners ask, workers answer with what they hold."""

from collections import defaultdict
from math import inf
from typing import NamedTuple

import anyio

from bus.codec import decode, encode
from bus.config import Timing
from bus.ports import Delivery, Transport
from bus.shard.workforce import Workforce
from bus.waiting import Wakeup
from schemas.fleet import ROLL_CALL_SUBJECT, Held, RollCall

LONGEST_SECONDS = 10.0
"""Whoever lives and does not answer for so long is not waited for."""


class Roll(NamedTuple):
    """What the workers have answered: who holds each item, and who heeds the epoch of the call."""

    holders: dict[str, str]
    heeding: set[str]


async def call_roll(
    transport: Transport, call: RollCall, workforce: Workforce, timing: Timing
) -> Roll:
    """Return what all workers that live have answered, once they have.

    Where they answer is this call's alone. Who has gone is not waited for, so a worker that is
    silent delays this until it is given up.
    """
    answers: defaultdict[str, set[str]] = defaultdict(set)
    heeding: set[str] = set()
    answered = Wakeup()

    async def note(delivery: Delivery) -> None:
        held = decode(Held, delivery.data)
        answers[held.worker].update(held.items)
        if held.epoch == call.epoch:
            heeding.add(held.worker)
        answered.set()

    async with transport.subscription(call.answer_to, note):
        question, asked = encode(call), -inf
        with anyio.move_on_after(LONGEST_SECONDS):
            while not workforce.living <= answers.keys():
                again = asked + timing.roll_call_seconds
                if anyio.current_time() >= again:
                    await transport.publish(ROLL_CALL_SUBJECT, question)
                    asked = anyio.current_time()
                    continue
                await answered.wait(again - anyio.current_time())
    return Roll({item: worker for worker, items in answers.items() for item in items}, heeding)

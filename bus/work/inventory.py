"""Finding out which items a worker holds: the new owner of their shard asks it."""

from collections.abc import Sequence
from functools import partial

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.ports import Transport
from bus.requests.ask_all import Patience, ask_all
from bus.subjects import offer_subject
from bus.tasks import until_answered
from bus.work.registry import WorkerRegistry
from schemas.fleet import Held, InventoryRequest

LONGEST_SECONDS = 10.0
"""Whoever lives and does not answer for so long is not waited for."""


async def ask_holder(
    worker: str,
    call: InventoryRequest,
    transport: Transport,
    registry: WorkerRegistry,
    timing: Timing,
) -> Held | None:
    """Return what a worker says that it holds; None if it has gone, or is silent for long.

    It was met before, so the worker registry tells when it has gone.
    """
    pause = timing.inventory_seconds
    patience = Patience(LONGEST_SECONDS, again=pause)

    def enough(held: Sequence[Held]) -> bool:
        return bool(held) or not registry.knows(worker)

    ask = partial(ask_all, transport, offer_subject(worker), encode(call), Held, patience)
    with anyio.move_on_after(LONGEST_SECONDS):
        for held in await until_answered(partial(ask, enough=enough), pause):
            return held
    return None

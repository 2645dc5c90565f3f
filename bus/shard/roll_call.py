"""Finding work that the bus has lost: owners ask, workers answer with what they hold."""

from collections.abc import Iterable

import anyio

from bus.codec import decode, encode
from bus.ports import Delivery, Transport
from bus.shard.book import Address
from schemas.decision import Work
from schemas.fleet import ROLL_CALL_SUBJECT, Held, RollCall


async def unheld(
    transport: Transport,
    name: str,
    open_work: Iterable[tuple[Address, Work]],
    *,
    seconds: float,
) -> list[tuple[Address, Work]]:
    """Return the work that no worker says it holds within ``seconds``. ``name`` is the shard's."""
    asked = list(open_work)
    held: set[str] = set()
    answer_to = f"_cb.sys.held.{name}"

    async def note(delivery: Delivery) -> None:
        held.update(decode(Held, delivery.data).items)

    async with transport.subscription(answer_to, note):
        call = RollCall(answer_to=answer_to)
        await transport.publish(ROLL_CALL_SUBJECT, encode(call))
        await anyio.sleep(seconds)
    return [(address, work) for address, work in asked if work.id not in held]

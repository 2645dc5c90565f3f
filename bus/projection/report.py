"""How far the projections of a fleet have come, and having one made anew."""

import anyio

from bus.codec import decode, encode
from bus.ids import new_id
from bus.ports import Delivery, Transport
from schemas.fleet import (
    PROJECTIONS_SUBJECT,
    REBUILD_SUBJECT,
    ProjectionState,
    RebuildProjection,
)


async def projection_states(transport: Transport, *, seconds: float) -> list[ProjectionState]:
    """Ask every process of the fleet how far its copies have come, for ``seconds``."""
    said: list[ProjectionState] = []

    async def take(delivery: Delivery) -> None:
        said.append(decode(ProjectionState, delivery.data))

    answer_to = f"_cb.sys.projected.{new_id()}"
    async with transport.subscription(answer_to, take):
        await transport.publish(PROJECTIONS_SUBJECT, b"", reply=answer_to)
        await anyio.sleep(seconds)
    return sorted(said, key=lambda state: (state.projection, state.file, state.process))


async def rebuild(transport: Transport, projection: str) -> None:
    """Have every process make its copy of a projection anew."""
    await transport.publish(REBUILD_SUBJECT, encode(RebuildProjection(projection=projection)))

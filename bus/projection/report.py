"""How far the projections of a fleet have come, and having one made anew."""

from bus.codec import encode
from bus.ports import Transport
from bus.requests.ask_all import Patience, ask_all
from schemas.fleet import (
    PROJECTIONS_SUBJECT,
    REBUILD_SUBJECT,
    ProjectionState,
    RebuildProjection,
)


async def projection_states(transport: Transport, *, seconds: float) -> list[ProjectionState]:
    """Ask every process of the fleet how far its copies have come, for ``seconds``."""
    said = await ask_all(transport, PROJECTIONS_SUBJECT, b"", ProjectionState, Patience(seconds))
    return sorted(said, key=lambda state: (state.projection, state.file, state.process))


async def rebuild(transport: Transport, projection: str) -> None:
    """Have every process make its copy of a projection anew."""
    await transport.publish(REBUILD_SUBJECT, encode(RebuildProjection(projection=projection)))

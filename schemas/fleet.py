"""What processes of a fleet say to each other: who is alive, who holds which work."""

from datetime import datetime

from schemas.base import Internal

HEARTBEAT_SUBJECT = "_cb.sys.alive"
FAREWELL_SUBJECT = "_cb.sys.gone"
ROLL_CALL_SUBJECT = "_cb.sys.roll_call"
STOP_WORK_SUBJECT = "_cb.sys.stop_work"
LANE_SUBJECT = "_cb.sys.lane"


class Alive(Internal):
    """A process's heartbeat: the entities whose shards it can own and how it fares.

    ``pid`` is its number on its machine, 0 where it is not told.
    """

    process: str
    actor: str
    pid: int = 0
    entities: list[str] = []
    running: int = 0
    capacity: int = 0
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    started_at: datetime | None = None
    metrics_port: int | None = None
    ready: bool = False


class Gone(Internal):
    """A process leaves in good order: its shards may be taken at once."""

    process: str


class RollCall(Internal):
    """An owner asks all workers which items they hold; they say so on ``answer_to``."""

    answer_to: str


class Held(Internal):
    """The effect ids a worker holds, in answer to a roll call."""

    process: str
    items: list[str]


class StopWork(Internal):
    """Nobody waits for this item any more: close the provider connection."""

    item: str


class LaneOpened(Internal):
    """A queue has work for a tenant that its workers may not know yet."""

    queue: str
    tenant: str


class DeadLetter(Internal):
    """Work or a command that could not be handled, with the reason, for inspection and re-drive."""

    subject: str
    reason: str
    at: datetime
    deliveries: int
    body: str
    id: str

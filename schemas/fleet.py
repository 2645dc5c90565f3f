"""What processes of a fleet say to each other: who is alive, who holds which work."""

from datetime import datetime
from typing import Literal

import msgspec

from schemas.base import Internal
from schemas.journal import CommandEnvelope

HEARTBEAT_SUBJECT = "_cb.sys.alive"
FAREWELL_SUBJECT = "_cb.sys.gone"
WHO_SUBJECT = "_cb.sys.who"
"""Every process answers here with its heartbeat, at once."""

STOP_WORK_SUBJECT = "_cb.sys.stop_work"
WORKER_SUBJECT = "_cb.sys.worker"
PROVIDERS_SUBJECT = "_cb.sys.providers"
SHARDS_SUBJECT = "_cb.sys.shards"
"""A question without a body: every process answers with what it owns."""

PROJECTIONS_SUBJECT = "_cb.sys.projections"
"""A question without a body: every process answers with how far its projections have come."""

REBUILD_SUBJECT = "_cb.sys.rebuild"

QUOTAS_SUBJECT = "_cb.sys.quotas"
"""A question: every process answers with what it knows of the tenants' quotas."""


class Alive(Internal):
    """A process's heartbeat: the entities whose shards it can own and how it fares.

    ``pid`` is its number on its machine, 0 where it is not told. ``refused`` names the shards that
    it cannot serve, such as ``execution.3``. ``lacks`` says what it waits for until it is ready.
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
    refused: list[str] = []
    lacks: list[str] = []


class Gone(Internal):
    """A process leaves in good order: its shards may be taken at once."""

    process: str


class OwnedShard(Internal):
    """One shard as its owner sees it.

    ``commit`` is the number of its newest commit, ``backlog`` counts the commands that wait for a
    turn, ``entities`` those in memory, ``open_work`` the items at workers or on their way there.
    Until it is ``serving``, the owner is still reading the journal. ``refused`` says why it cannot.
    ``corrupt`` counts the entities in quarantine, ``unreadable`` the commits that were passed over
    because nothing of them can be read.
    """

    shard: int
    serving: bool
    epoch: int = 0
    commit: int = 0
    backlog: int = 0
    entities: int = 0
    open_work: int = 0
    corrupt: int = 0
    unreadable: int = 0
    refused: str | None = None


class OwnedShards(Internal):
    """What a process owns of an entity type that has ``shards`` shards."""

    process: str
    entity: str
    shards: int
    owned: list[OwnedShard]


class QuotaUse(Internal):
    """What a tenant uses of one quota, as one process knows it."""

    tenant: str
    quota: str
    used: int
    allowed: int


class QuotaReport(Internal):
    """What a process knows of the tenants' quotas, the fullest first."""

    process: str
    rows: list[QuotaUse]


class WorkerAlive(Internal):
    """A worker's heartbeat: the queue it works off, and how many places are free.

    One that is ``leaving`` has reported all it had: this is the last that it says.
    """

    worker: str
    queue: str
    room: int = 0
    leaving: bool = False


class WantedPlaces(Internal):
    """How many items of a line wait for a worker, and since when the first does, in seconds."""

    line: str
    count: int
    age: float = 0.0


class Demand(Internal):
    """What waits for the workers of a queue in one ``registry`` of workers.

    ``naming`` are the grants, by worker, for which a commit is under way; they do not lapse.
    """

    registry: str
    queue: str
    wanted: list[WantedPlaces] = []
    naming: dict[str, list[int]] = {}


class Grant(Internal):
    """A place that a worker keeps for one item of a line, told to one registry.

    Its ``number`` is used once, by the offer that names it. It lapses on the worker's own clock.
    """

    worker: str
    queue: str
    number: int
    line: str


class Offer(Internal, tag="offer"):
    """A work item for one worker, which a commit names; ``name`` is its effect id.

    ``at`` is when it left. ``shard`` and ``epoch`` are its owner's, ``grant`` is the number of the
    grant that it uses, 0 if none. The worker says on the reply subject whether it takes it, by
    ``OfferAnswer``.
    """

    name: str
    line: str
    at: datetime
    item: msgspec.Raw
    shard: str = ""
    epoch: int = 0
    grant: int = 0


class OfferAnswer(Internal):
    """Whether a worker has taken the item that it was offered."""

    taken: bool


class Unused(Internal, tag="unused"):
    """A grant for which nothing waits: its place is free again."""

    grant: int


class InventoryRequest(Internal, tag="inventory"):
    """The new owner of a shard asks a worker which items it holds of it; it replies with ``Held``.

    From then on the worker takes no item of ``shard`` from an owner of an earlier ``epoch``.
    """

    shard: str
    epoch: int


WorkerMessage = Offer | Unused | InventoryRequest
"""What a worker is told on a subject of its own."""


UNHEARD_RESULT = "work.report"
"""The name under which the fleet submits such a result; the contract has no such command."""


class UnheardResult(Internal):
    """What became of an item, told to its ``entity`` by way of an inbox, as its worker had left."""

    entity: str
    envelope: CommandEnvelope


class ProjectionState(Internal):
    """How far one process's copy of a projection has come.

    ``position`` is the sequence of the last commit applied, ``applied_at`` that commit's time.
    ``behind_commits`` are not applied yet. ``reason`` says why it does not go on.
    """

    process: str
    projection: str
    entity: str
    version: int
    state: Literal["current", "catching_up", "refused"]
    position: int
    behind_commits: int
    file: str
    file_bytes: int
    applied_at: datetime | None = None
    reason: str | None = None


class RebuildProjection(Internal):
    """Every copy of this projection is dropped and made anew from the journal."""

    projection: str


class Held(Internal):
    """The items that a worker holds of a shard, by their effect ids, in answer to an inventory.

    With ``epoch``, that of the call, it promises: an open item of the shard that is not among these
    was never begun here, and no offer of an earlier epoch will be taken.
    """

    items: list[str]
    epoch: int = 0


class StopWork(Internal):
    """Nobody waits for this item any more: close the provider connection."""

    item: str


class KeyState(Internal):
    """A key of an endpoint, by the name of its secret; ``remaining`` is what its limits leave."""

    name: str
    in_use: int = 0
    resting_seconds: float = 0.0
    remaining: dict[str, int] = {}


class EndpointState(Internal):
    """How one model at one server fares, as one process has seen it.

    ``failures`` are those of the last seconds, ``opens_in_seconds`` is how long an open circuit
    lets no call through.
    """

    endpoint: str
    circuit: Literal["closed", "open", "half_open"]
    failures: int = 0
    opens_in_seconds: float = 0.0
    keys: list[KeyState] = []


class ProviderStates(Internal):
    """The endpoints that a process has called, and the names of the ``secrets`` it has."""

    process: str
    endpoints: list[EndpointState]
    secrets: list[str] = []

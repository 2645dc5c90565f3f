"""The metrics of every process, and how an actor declares its own in ``adapters/metrics.py``.

Names, labels and units are part of what we promise.

| metric | kind | labels | what it says |
|---|---|---|---|
| callboard_turn_seconds | histogram | entity | one turn of a shard, its commit included |
| callboard_turn_commands | histogram | entity | commands in one turn |
| callboard_commit_total | counter | entity, outcome | appends `stored`, or `fenced` off |
| callboard_shards_owned | gauge | entity | shards this process serves |
| callboard_recovery_seconds | histogram | entity | taking a shard over |
| callboard_quarantined_total | counter | entity | entities that could not be read, and ended |
| callboard_corrupt_entities | gauge | entity | of those, how many are in shards served here |
| callboard_store_used_ratio | gauge | store | used of a journal or of BLOBS; 1 is all |
| callboard_work_in_flight | gauge | queue | items being worked on |
| callboard_work_redelivered_total | counter | queue | items that another worker held before |
| callboard_requests_total | counter | endpoint, code | requests; code `ok` or a problem's |
| callboard_request_seconds | histogram | endpoint | from arrival to reply |
| callboard_quota_refusals_total | counter | quota | requests refused by a tenant's quota |
| callboard_quota_used_ratio | gauge | quota | used of it by the tenant with most, 1 is all |
| callboard_dead_letters_total | counter | source | stored for inspection |
| callboard_archived_batches_total | counter | entity | batches of a journal stored in its archive |
| callboard_projection_events_total | counter | projection | events applied to its file |
| callboard_projection_behind_commits | gauge | projection | commits not applied yet |
| callboard_projection_behind_seconds | gauge | projection | age of the newest applied, if behind |
| callboard_outbox_unsettled | gauge | | messages that a restart of the bus could still lose |
| callboard_bus_reconnects_total | counter | | times the bus was lost and found |
| callboard_part_restarts_total | counter | part | parts of the process that failed and began anew |

The usual ``process_*`` metrics of Prometheus stand beside them. A metric holds at most 200 sets of
labels, because models are named by users; what comes after is counted under ``other``.
"""

from collections.abc import Sequence
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client import Counter as _Counter
from prometheus_client import Gauge as _Gauge
from prometheus_client import Histogram as _Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
MOST_LABEL_SETS = 200
OTHER = "other"

REGISTRY = CollectorRegistry(auto_describe=True)
"""What this process exposes. Global, because so is a process."""

ProcessCollector(registry=REGISTRY)

FAST = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 5, 10)
"""Seconds of what our own processes do."""

SLOW = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 102.4, 204.8, 409.6)
"""Seconds of what models do."""

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

M = TypeVar("M", _Counter, _Gauge, _Histogram)


class _Family(Generic[M]):
    """One metric and its instruments by label values.

    A look-up in a dict of our own costs a quarter of the library's.
    """

    def __init__(self, parent: M, labels: Sequence[str]) -> None:
        self._parent = parent
        self._labels = tuple(labels)
        self._bound: dict[tuple[str, ...], M] = {}
        if not labels:
            self._bound[()] = parent

    def at(self, *values: str) -> M:
        """Return the instrument of these label values."""
        bound = self._bound.get(values)
        return bound if bound is not None else self._bind(values)

    def _bind(self, values: tuple[str, ...]) -> M:
        if len(self._bound) >= MOST_LABEL_SETS:
            values = (OTHER,) * len(self._labels)
        return self._bound.setdefault(values, self._parent.labels(*values))


def counter(name: str, doc: str, *labels: str) -> _Family[_Counter]:
    """Declare a counter."""
    return _Family(_Counter(name, doc, labels, registry=REGISTRY), labels)


def gauge(name: str, doc: str, *labels: str) -> _Family[_Gauge]:
    """Declare a gauge."""
    return _Family(_Gauge(name, doc, labels, registry=REGISTRY), labels)


def histogram(
    name: str, doc: str, *labels: str, buckets: Sequence[float] = FAST
) -> _Family[_Histogram]:
    """Declare a histogram; ``buckets`` are upper bounds, usually in seconds."""
    return _Family(_Histogram(name, doc, labels, buckets=buckets, registry=REGISTRY), labels)


TURN_SECONDS = histogram("callboard_turn_seconds", "One turn of a shard", "entity")
TURN_COMMANDS = histogram(
    "callboard_turn_commands", "Commands in one turn", "entity", buckets=SIZES
)
COMMITS = counter("callboard_commit_total", "Appends to a journal", "entity", "outcome")
SHARDS_OWNED = gauge("callboard_shards_owned", "Shards this process serves", "entity")
RECOVERY_SECONDS = histogram("callboard_recovery_seconds", "Taking a shard over", "entity")
CORRUPT = counter("callboard_quarantined_total", "Entities that could not be read", "entity")
CORRUPT_HERE = gauge(
    "callboard_corrupt_entities", "Entities in quarantine in shards served here", "entity"
)
STORE_USED = gauge("callboard_store_used_ratio", "Used of a store; 1 is all", "store")

WORK_IN_FLIGHT = gauge("callboard_work_in_flight", "Items being worked on", "queue")
WORK_REDELIVERED = counter(
    "callboard_work_redelivered_total", "Items that another worker held before", "queue"
)
REQUESTS = counter("callboard_requests_total", "Public requests", "endpoint", "code")
REQUEST_SECONDS = histogram("callboard_request_seconds", "From arrival to reply", "endpoint")
QUOTA_REFUSALS = counter(
    "callboard_quota_refusals_total", "Requests refused by a tenant's quota", "quota"
)
QUOTA_SHARE = gauge(
    "callboard_quota_used_ratio", "Used of it by the tenant with most, 1 is all", "quota"
)
DEAD_LETTERS = counter("callboard_dead_letters_total", "Stored for inspection", "source")

ARCHIVED_BATCHES = counter(
    "callboard_archived_batches_total", "Parts of journals stored in the archive", "entity"
)

PROJECTION_EVENTS = counter(
    "callboard_projection_events_total", "Events applied to the file of a projection", "projection"
)
PROJECTION_BEHIND_COMMITS = gauge(
    "callboard_projection_behind_commits", "Commits that are not applied yet", "projection"
)
PROJECTION_BEHIND_SECONDS = gauge(
    "callboard_projection_behind_seconds", "Age of the newest applied, if behind", "projection"
)

OUTBOX_UNSETTLED = gauge(
    "callboard_outbox_unsettled", "Messages that a restart of the bus could still lose"
)
BUS_RECONNECTS = counter("callboard_bus_reconnects_total", "Times the bus was lost and found")
PART_RESTARTS = counter(
    "callboard_part_restarts_total", "Parts of the process that failed and began anew", "part"
)


def render() -> bytes:
    """Return all metrics in the text format of Prometheus."""
    return generate_latest(REGISTRY)

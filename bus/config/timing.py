"""Every time and bound that the mechanisms share, each with its reason. None is read from outside.

They are fields of one object so that a test can shorten one; a fleet runs with one set of them.
"""

from typing import Annotated, Any, get_args, get_type_hints

import msgspec


def _why(reason: str) -> msgspec.Meta:
    return msgspec.Meta(description=reason)


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Times in seconds or days, sizes in bytes, as the names say."""

    # Membership and ownership

    heartbeat_seconds: Annotated[
        float, _why("four beats fit into the silence after which a process counts as gone")
    ] = 0.25
    member_gone_seconds: Annotated[
        float, _why("three lost beats are chance, four are a death; shards must move within 3 s")
    ] = 1.0
    join_seconds: Annotated[
        float, _why("two beats: a newcomer has heard everybody before it takes its first shard")
    ] = 0.5
    reconcile_seconds: Annotated[
        float,
        _why("how long a lost or given-back shard waits when no membership change tells of it"),
    ] = 0.5
    corrupt_retry_seconds: Annotated[
        float, _why("a damaged journal does not heal by itself; often enough to notice a repair")
    ] = 30.0

    # Turns

    turn_commands: Annotated[
        int, _why("the gain of a group commit is spent well before; bounds the latency of one turn")
    ] = 256
    turn_bytes: Annotated[
        int, _why("half of the server's default message limit, so that a commit always fits")
    ] = 512 * 1024
    blob_bytes: Annotated[
        int, _why("above it an entry goes to the object store: eight of them still fill one turn")
    ] = 64 * 1024
    snapshot_commits: Annotated[
        int, _why("a new owner replays at most about this many commits, well under a second")
    ] = 1000
    entities_in_memory: Annotated[
        int,
        _why("a shard's idle entities beyond this leave memory, and snapshots; some 4 KB each"),
    ] = 64
    rest_seconds: Annotated[
        float, _why("a batch of states costs one server some 20 ms: many are to share it")
    ] = 5.0
    idle_seconds: Annotated[
        float, _why("what has not ended and is used once a minute is not read again each time")
    ] = 60.0
    due_soon_seconds: Annotated[
        float, _why("to store and read a state costs more than to keep it for ten minutes")
    ] = 600.0
    body_sweep_seconds: Annotated[
        float, _why("bodies that a dead process left behind cost room, and nothing else")
    ] = 600.0
    body_orphan_seconds: Annotated[
        float, _why("far longer than from storing a body to the commit that names it")
    ] = 3600.0
    housekeeping_seconds: Annotated[
        float, _why("an idle owner looks up this often, to note in the journal what was published")
    ] = 1.0
    record_delay_seconds: Annotated[
        float, _why("an execution changes several times at once; one record then stands for all")
    ] = 0.2

    room_look_seconds: Annotated[
        float, _why("how full journal and blobs are; what this process adds it counts itself")
    ] = 5.0
    room_tight_seconds: Annotated[
        float, _why("the same above 60 %, where what other processes add begins to matter")
    ] = 0.25
    full_seconds: Annotated[
        float, _why("so long a turn for which there is no room waits for some, then is forgotten")
    ] = 5.0

    # Requests between processes

    request_try_seconds: Annotated[
        float, _why("as long as a dead owner goes unnoticed; then the same command is sent again")
    ] = 1.0
    retry_least_seconds: Annotated[
        float, _why("a planned change of owner takes about this long")
    ] = 0.02
    retry_most_seconds: Annotated[
        float, _why("the spread keeps callers from coming back all at once")
    ] = 0.2
    ask_pause_seconds: Annotated[
        float, _why("an entity that stays away is asked this seldom in the end, not forgotten")
    ] = 5.0
    ask_together_seconds: Annotated[
        float, _why("what is not urgent waits so long for others that go the same way")
    ] = 0.5
    answer_seconds: Annotated[
        float, _why("a public request is answered or refused; covers one death of a shard's owner")
    ] = 5.0

    # Work

    ack_wait_seconds: Annotated[
        float, _why("a silent worker's items move to others after this: within 3 s in all")
    ] = 2.0
    offer_seconds: Annotated[
        float, _why("an offered item that is neither answered nor done by then is offered again")
    ] = 1.0
    taken_seconds: Annotated[
        float, _why("who is done sooner says so by the result alone; a short wait in a second")
    ] = 0.02
    inventory_seconds: Annotated[
        float, _why("who does not answer within it is asked again, unless it has gone meanwhile")
    ] = 0.25
    work_resend_seconds: Annotated[float, _why("the pause between tries while the bus is away")] = (
        0.1
    )
    duplicate_window_seconds: Annotated[
        float, _why("how long the server swallows a repeated message id")
    ] = 120.0

    # Submitted commands

    submit_ack_seconds: Annotated[
        float, _why("a dead reader's commands come again after this; none takes so long")
    ] = 30.0
    submit_retry_seconds: Annotated[
        float, _why("the first pause after a refusal that may pass; each further one is twice it")
    ] = 0.5
    submit_pause_seconds: Annotated[
        float, _why("the longest of these pauses: a command goes on so soon after its obstacle")
    ] = 60.0
    inbox_wait_seconds: Annotated[
        float, _why("how long an empty inbox is asked for more before its reader goes")
    ] = 2.0
    inbox_look_seconds: Annotated[
        float, _why("how often all inboxes are looked through for commands that nobody reads")
    ] = 10.0
    inbox_settle_seconds: Annotated[
        float, _why("a command may arrive so late that its inbox did not stand when it was sent")
    ] = 2.0
    inbox_answer_seconds: Annotated[
        float, _why("the inbox itself answers well before; only then is the sender told to repeat")
    ] = 1.0

    # Publishing

    delta_window: Annotated[
        int, _why("publishes in the air at once: four of each of a thousand streams")
    ] = 4096
    resend_window_seconds: Annotated[
        float, _why("a lazily synced stream loses its last milliseconds; this is ample")
    ] = 5.0

    # Projections

    projection_poll_seconds: Annotated[
        float,
        _why("as old as a list is at most when nobody asks; a question makes it look at once"),
    ] = 0.25
    projection_wait_seconds: Annotated[
        float, _why("a question waits so long for what was committed before it, then is refused")
    ] = 3.0
    projection_query_seconds: Annotated[
        float, _why("a report over a year of a busy tenant; a longer one is asked for in parts")
    ] = 20.0

    # Archives

    archive_look_seconds: Annotated[
        float, _why("a journal that fills at full speed gets some 15 MB fuller in this time")
    ] = 5.0
    archive_grace_days: Annotated[
        float, _why("so long after its end a month lies in the journal: what is over is known so")
    ] = 3.0
    archive_batch_bytes: Annotated[
        int, _why("of a journal at once: some 20 ms of packing, in a thread")
    ] = 2 * 1024**2
    archive_above: Annotated[
        float, _why("a journal fuller than this share is archived before its months are over")
    ] = 0.5
    archive_least: Annotated[
        float, _why("of a journal, by its shards: a quarter of it at most then waits for more")
    ] = 1 / 64

    # Processes

    drain_seconds: Annotated[
        float, _why("answers that take longer go to another process; a third of Kubernetes' grace")
    ] = 10.0
    restarts: Annotated[
        int, _why("failures of one part within the window before its process gives up")
    ] = 5
    restart_window_seconds: Annotated[float, _why("older failures are forgiven")] = 30.0
    restart_pause_seconds: Annotated[
        float, _why("doubled with each failure within the window: six of them take 6 s, not 1 s")
    ] = 0.2
    reconnect_seconds: Annotated[
        float, _why("the longest pause between tries to find a lost server")
    ] = 1.0

    # Retention

    journal_retention_days: Annotated[
        float, _why("a month of what happened to executions; the newest commit always stays")
    ] = 30.0
    erase_seconds: Annotated[
        float, _why("a snapshot that rids a quiet journal of what was deleted costs what any does")
    ] = 3600.0
    record_retention_days: Annotated[
        float, _why("an execution's id means the same execution this long; then it is forgotten")
    ] = 90.0
    events_retention_days: Annotated[
        float, _why("a listener that was away for a week misses nothing")
    ] = 7.0
    stream_retention_seconds: Annotated[
        float, _why("deltas serve resuming clients; afterwards the record has the whole answer")
    ] = 3600.0
    dead_retention_days: Annotated[
        float, _why("a month to look at what failed and to send it again")
    ] = 30.0

    # Sizes of streams: together they must fit the server's store, which reserves them

    journal_max_bytes: Annotated[int, _why("about 2 KB an execution: two million executions")] = (
        4 * 1024**3
    )
    record_max_bytes: Annotated[int, _why("about 2 KB an execution, answers included")] = (
        4 * 1024**3
    )
    events_max_bytes: Annotated[int, _why("about 300 bytes an event: three million events")] = (
        1024**3
    )
    stream_max_bytes: Annotated[
        int, _why("about 200 bytes a delta: an hour at 1,400 a second; the oldest go first")
    ] = 1024**3
    inbox_max_bytes: Annotated[
        int, _why("one tenant's commands waiting for a fleet; when it is full, more are refused")
    ] = 32 * 1024**2
    dead_max_bytes: Annotated[int, _why("dead letters are rare; the oldest go first")] = (
        256 * 1024**2
    )
    archive_max_bytes: Annotated[
        int, _why("about 50 bytes an execution: eighty million; then journals are purged no more")
    ] = 4 * 1024**3
    conversation_max_bytes: Annotated[int, _why("about 2 KB a turn: half a million turns")] = (
        1024**3
    )


def rows() -> list[tuple[str, Any, str]]:
    """Return name, value and reason of every constant."""
    hints = get_type_hints(Timing, include_extras=True)
    reasons = {name: get_args(hint)[1].description for name, hint in hints.items()}
    return [
        (field.name, field.default, reasons[field.name]) for field in msgspec.structs.fields(Timing)
    ]

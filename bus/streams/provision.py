"""Making the streams that are missing, and saying how those that stand differ from what we need."""

from collections.abc import Iterable
from typing import Any

import anyio
import structlog

from bus.config import Durability
from bus.errors import ConfigError, DriftError, UnavailableError
from bus.streams.api import NAME_IN_USE, STREAM_NOT_FOUND, JetStream, JetStreamError
from bus.streams.spec import StreamSpec

log = structlog.get_logger()

PROVISION_SECONDS = 20.0
"""A cluster that has just started elects its leaders within this time."""

RETRY_SECONDS = 0.1

ESSENTIAL = frozenset(
    {
        "discard",
        "max_msgs_per_subject",
        "num_replicas",
        "persist_mode",
        "retention",
        "storage",
        "subjects",
    }
)
"""A difference here breaks a promise; in a limit it is the operator's business."""

_TEMPORARY = 503


async def provision(
    jetstream: JetStream,
    specs: Iterable[StreamSpec],
    durability: Durability,
    *,
    first_sequence: int = 1,
) -> None:
    """Make each stream that is missing. Nothing that stands is changed or removed.

    A dated stream begins at ``first_sequence``, which must grow from one life
    of the server to the next: an acknowledgement names its message by sequence alone, and a late
    one from an earlier life would otherwise remove one of the present one.

    Several processes may do this at once, and again after each restart of the bus.

    Raises:
        DriftError: a stream stands with settings under which our promises do not hold.
        ConfigError: the server refuses a stream, for example for lack of space.
        UnavailableError: JetStream does not answer.
    """
    for spec in specs:
        await _provide(jetstream, spec, durability, first_sequence)


async def _provide(
    jetstream: JetStream, spec: StreamSpec, durability: Durability, first_sequence: int
) -> None:
    wanted = spec.settings(durability)
    start = {"first_seq": first_sequence} if spec.dated else {}
    try:
        await _patiently(jetstream, f"STREAM.CREATE.{spec.name}", wanted | start)
    except JetStreamError as error:
        if error.code != NAME_IN_USE:
            raise ConfigError(f"stream {spec.name}", error.description) from None
        # In a cluster the name of a stream is in use before it is there to be asked about.
        info = await _patiently(
            jetstream, f"STREAM.INFO.{spec.name}", None, not_yet=STREAM_NOT_FOUND
        )
        _compare(spec.name, wanted, info["config"])


async def _patiently(
    jetstream: JetStream, request: str, body: dict[str, Any] | None, *, not_yet: int | None = None
) -> dict[str, Any]:
    """Ask until JetStream is ready to answer; the error code ``not_yet`` says that it is not."""
    reason = "no answer"
    with anyio.move_on_after(PROVISION_SECONDS):
        while True:
            try:
                return await jetstream.call(request, body)
            except UnavailableError as error:
                reason = error.reason
            except JetStreamError as error:
                if error.status != _TEMPORARY and error.code != not_yet:
                    raise
                reason = error.description
            await anyio.sleep(RETRY_SECONDS)
    raise UnavailableError(f"$JS.API.{request}", reason)


def _compare(stream: str, wanted: dict[str, Any], found: dict[str, Any]) -> None:
    differing = differences(wanted, found)
    broken = {field: pair for field, pair in differing.items() if field in ESSENTIAL}
    if broken:
        raise DriftError(stream, broken)
    if differing:
        log.warning("streams.drift", stream=stream, differences=differing)


def differences(wanted: dict[str, Any], found: dict[str, Any]) -> dict[str, tuple[object, object]]:
    """Return (found, wanted) of each setting that differs. What is not asked for does not count."""
    wanted = {"persist_mode": "default", **wanted, "subjects": sorted(wanted["subjects"])}
    found = {"persist_mode": "default", **found, "subjects": sorted(found.get("subjects", ()))}
    return {
        field: (found.get(field), value)
        for field, value in wanted.items()
        if found.get(field) != value
    }

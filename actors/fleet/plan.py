"""Which processes a fleet consists of. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bus.errors import ConfigError
from schemas.ids import whole

REPLICAS: Mapping[str, int] = {
    "agents": 1,
    "streaming": 2,
    "pricing": 1,
    "mcp_pool": 1,
    "identity": 1,
    "workflow": 1,
}
"""The actors a fleet can run, and how many processes of each it runs unless told otherwise."""

LIGHT = ("agents", "pricing", "mcp_pool", "identity", "workflow")
"""Actors that wait more than they work: on one machine they share processes."""

MOST_REPLICAS = 64


class PlannedProcess(NamedTuple):
    """An actor of a process, by the name that it has in the fleet, such as ``agents.1``."""

    name: str
    actor: str


class FleetPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A fleet as it is to stand.

    ``url`` is the bus to join; None starts a nats-server on ``port`` of the loopback interface,
    whose store lies below ``data``.
    """

    replicas: Mapping[str, int]
    data: Path
    url: str | None = None
    port: int = 4222
    loopback: bool = True
    apart: bool = False
    ready_file: Path | None = None

    def processes(self) -> list[list[PlannedProcess]]:
        """Return the actors of each process, in the order of starting.

        The light ones of one number share a process, unless each is to have its own.
        """
        found: dict[str, list[PlannedProcess]] = {}
        for actor, count in self.replicas.items():
            for number in range(1, count + 1):
                member = PlannedProcess(f"{actor}.{number}", actor)
                is_shared = actor in LIGHT and not self.apart
                found.setdefault(f".{number}" if is_shared else member.name, []).append(member)
        return list(found.values())


def chosen(actors: str | None, replicas: Sequence[str]) -> dict[str, int]:
    """Return how many processes of each actor are wanted.

    ``actors`` is a list separated by commas, ``replicas`` holds items such as ``streaming=3``.

    Raises:
        ConfigError: an actor is unknown or not chosen, or a number makes no sense.
    """
    names = _names(actors)
    numbers = counts(replicas, "--replicas")
    for name in numbers:
        if name not in names:
            raise ConfigError("--replicas", f"{name} is not among the actors {', '.join(names)}")
    return {name: numbers.get(name, REPLICAS[name]) for name in names}


def counts(items: Iterable[str], option: str) -> dict[str, int]:
    """Read items such as ``streaming=3``.

    Raises:
        ConfigError: an item does not look like this.
    """
    found: dict[str, int] = {}
    for item in items:
        name, _, number = item.partition("=")
        count = whole(number)
        if count is None or not 1 <= count <= MOST_REPLICAS:
            reason = f"{item!r} must be an actor and a number to {MOST_REPLICAS}: streaming=3"
            raise ConfigError(option, reason)
        _known(name, option)
        found[name] = count
    return found


def _names(actors: str | None) -> list[str]:
    if actors is None:
        return list(REPLICAS)
    wanted = {part.strip() for part in actors.split(",") if part.strip()}
    if not wanted:
        raise ConfigError("--actors", f"names no actor; there are {', '.join(REPLICAS)}")
    for name in sorted(wanted):
        _known(name, "--actors")
    return [name for name in REPLICAS if name in wanted]


def _known(name: str, option: str) -> None:
    if name not in REPLICAS:
        raise ConfigError(option, f"there is no actor {name!r}; there are {', '.join(REPLICAS)}")

"""What ``callboard doctor`` checks: the bus, the streams, the processes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import NamedTuple

from actors.cli.journals import ASK_SECONDS, entities_of
from actors.fleet.declared import entities, streams
from bus.config import Config, Timing
from bus.connection import NatsTransport
from bus.errors import UnavailableError
from bus.ports import Fill
from bus.requests.ask_all import Patience, ask_all
from bus.requests.inboxes.directory import listing
from bus.runtime.quota_report import gathered
from bus.server.embedded import OLDEST_VERSION
from bus.shard.report import owned_shards, rows
from bus.streams.api import STREAM_NOT_FOUND, JetStream, JetStreamError, fill_of
from bus.streams.provision import ESSENTIAL, differences
from bus.streams.spec import (
    BILLS,
    BLOBS,
    StreamSpec,
    inbox_spec,
    inbox_tenant,
    journal_stream,
)
from schemas.fleet import (
    PROVIDERS_SUBJECT,
    WHO_SUBJECT,
    Alive,
    OwnedShards,
    ProviderStates,
    QuotaUse,
)
from schemas.tool_servers import POOLS_SUBJECT, PoolStates

LISTEN_SECONDS = 0.5
"""A process that is asked and answers later than this is too busy, or stands still."""

PAUSE_SECONDS = 0.1

MOST_NAMED = 5

NEARLY_FULL = 0.8
"""Owners keep journals below this share by themselves, so above it something prevents them."""


class Result(NamedTuple):
    """What one check has found."""

    name: str
    ok: bool
    detail: str


async def all_of(
    transport: NatsTransport, wanted: Mapping[str, int], config: Config
) -> list[Result]:
    """Check everything; ``wanted`` says how many ready processes there must be of each actor."""
    alive = await _asked(transport)
    asked = sum(beat.actor == "streaming" for beat in alive.values())
    pools = sum(beat.actor == "mcp_pool" for beat in alive.values())
    jetstream = JetStream(transport)
    return [
        _bus(transport),
        await _streams(jetstream, config, wanted),
        await _stores(transport),
        *processes(alive, wanted),
        await _shards(transport, wanted),
        bills(await _waiting_bills(jetstream), alive),
        providers(await told(transport, asked)),
        quotas(await gathered(transport, seconds=PAUSE_SECONDS)),
        *([tools(await _pools(transport, pools))] if pools else []),
    ]


def processes(alive: Mapping[str, Alive], wanted: Mapping[str, int]) -> list[Result]:
    """Judge what the processes say of themselves, by name. Pure."""
    return [_of_actor(actor, count, alive.values()) for actor, count in wanted.items()]


def _of_actor(actor: str, wanted: int, alive: Iterable[Alive]) -> Result:
    every = [each for each in alive if each.actor == actor]
    ready = sum(each.ready for each in every)
    unready = sorted((each for each in every if not each.ready), key=lambda each: each.process)
    reasons = [f"{each.process}: {', '.join(each.lacks) or 'not ready'}" for each in unready]
    more = [f"and {len(reasons) - MOST_NAMED} more"] if len(reasons) > MOST_NAMED else []
    count = f"{ready} ready of {len(every)} alive, {wanted} wanted"
    ports = sorted(each.metrics_port for each in every if each.metrics_port)
    told = ", ".join(map(str, ports[:MOST_NAMED])) + (", …" if ports[MOST_NAMED:] else "")
    metrics = [f"metrics on {told}"] if ports else []
    detail = "; ".join([count, *reasons[:MOST_NAMED], *more, *metrics])
    return Result(actor, ok=ready >= wanted, detail=detail)


def shards(said: Sequence[OwnedShards], known: Mapping[str, int]) -> Result:
    """Judge what the owners say of their shards. Pure.

    ``known`` are the entity types that have a journal, with the least number of their shards. A
    shard that nobody serves is a fault; an entity in quarantine is not, since all others go on.
    """
    found = [row for name, count in known.items() for row in rows(name, count, said, {})]
    every = {(row.entity, row.shard) for row in found}
    unserved = every - {(row.entity, row.shard) for row in found if row.state == "serving"}
    corrupt = sum(row.corrupt or 0 for row in found)
    passed_over = sum(row.unreadable or 0 for row in found)
    parts = [f"{len(every) - len(unserved)} of {len(every)} served"]
    if unserved:
        names = sorted(f"{entity}.{shard}" for entity, shard in unserved)
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        parts.append(f"nobody serves {', '.join(names[:MOST_NAMED])}{more}")
    if corrupt:
        parts.append(f"{corrupt} entities are corrupt: see `callboard dead list`")
    if passed_over:
        parts.append(f"{passed_over} commits cannot be read")
    return Result("shards", ok=not unserved, detail="; ".join(parts))


def stores(fills: Mapping[str, Fill]) -> Result:
    """Judge how full the journals and the blobs are, which refuse what does not fit. Pure."""
    shares = {name: fill.used / fill.most for name, fill in fills.items() if fill.most}
    nearly_full = [name for name, share in shares.items() if share >= NEARLY_FULL]
    figures = [f"{name} {share:.0%}" for name, share in sorted(shares.items())]
    parts = [f"full to {', '.join(figures)}"] if figures else ["none has a bound"]
    if nearly_full:
        parts.append(f"give {' and '.join(sorted(nearly_full))} more room")
    return Result("stores", ok=not nearly_full, detail="; ".join(parts))


def bills(waiting: int, alive: Mapping[str, Alive]) -> Result:
    """Judge how many bills of executions no account has answered. Pure.

    They wait for the first pricing process; without one nothing is booked and no budget holds.
    """
    is_priced = any(beat.actor == "pricing" for beat in alive.values())
    if is_priced or not waiting:
        return Result("bills", ok=True, detail=f"{waiting} wait to be booked")
    detail = f"{waiting} wait for a pricing process, and there is none"
    return Result("bills", ok=False, detail=detail)


def providers(answers: Sequence[ProviderStates]) -> Result:
    """Show how the model providers fare, and which process lacks what others have. Pure.

    It is never a fault of the fleet, so it fails no check: work goes to a process that has the
    secret.
    """
    states = [state for one in answers for state in one.endpoints]
    sick = {state.endpoint: state for state in states if state.circuit != "closed"}
    named = [
        f"{name} is {state.circuit.replace('_', ' ')} for {state.opens_in_seconds:.0f} s"
        for name, state in sorted(sick.items())
    ]
    rests: dict[str, float] = {}
    for key in (key for state in states for key in state.keys if key.resting_seconds > 0):
        name = f"the key {key.name} rests" if key.name else "calls without a key rest"
        rests[name] = max(key.resting_seconds, rests.get(name, 0.0))
    keys = [f"{name} for {seconds:.0f} s" for name, seconds in sorted(rests.items())]
    count = len({state.endpoint for state in states})
    return Result(
        "providers",
        ok=True,
        detail="; ".join([f"{count} called", *named, *keys, *_lacking(answers)]),
    )


def _lacking(answers: Sequence[ProviderStates]) -> list[str]:
    every = {name for one in answers for name in one.secrets}
    lacks = ((one.process, sorted(every.difference(one.secrets))) for one in answers)
    found = [f"{process} lacks the secret {', '.join(names)}" for process, names in lacks if names]
    more = [f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else []
    return [*sorted(found)[:MOST_NAMED], *more]


def quotas(uses: Sequence[QuotaUse]) -> Result:
    """Show whose quota is the fullest. Pure. Tenants are refused by it; the fleet is well."""
    if not uses:
        return Result("quotas", ok=True, detail="nothing is used")
    first = uses[0]
    figure = f"{first.used:,} of {first.allowed:,} {first.quota}"
    return Result("quotas", ok=True, detail=f"the fullest: {first.tenant} has {figure}")


def tools(answers: Iterable[PoolStates]) -> Result:
    """Judge what the pools of MCP servers hold open; an ill server is no fault of the fleet. Pure.

    What upstreams have left open when they were closed is one.
    """
    answers = list(answers)
    servers = [server for one in answers for server in one.servers]
    ill = sorted({each.server for each in servers if set(each.circuits) - {"closed"}})
    leaked: Counter[str] = Counter()
    for one in answers:
        leaked.update({kind: count for kind, count in one.ledger.leaked.items() if count})
    parts = [f"{len({(each.tenant, each.server) for each in servers})} MCP servers used"]
    parts += [f"{name} keeps failing" for name in ill[:MOST_NAMED]]
    parts += [f"{count} {kind} were left open" for kind, count in sorted(leaked.items())]
    return Result("tools", ok=not leaked, detail="; ".join(parts))


async def _pools(transport: NatsTransport, processes: int) -> list[PoolStates]:
    """Ask all pools, and wait for so many answers, or long enough."""
    return await ask_all(
        transport,
        POOLS_SUBJECT,
        b"",
        PoolStates,
        Patience(LISTEN_SECONDS),
        enough=lambda answers: len(answers) >= processes,
    )


async def told(transport: NatsTransport, processes: float = inf) -> list[ProviderStates]:
    """Ask all streaming processes, and wait for so many answers, or long enough."""
    return await ask_all(
        transport,
        PROVIDERS_SUBJECT,
        b"",
        ProviderStates,
        Patience(LISTEN_SECONDS),
        enough=lambda answers: len(answers) >= processes,
    )


def _bus(transport: NatsTransport) -> Result:
    version = transport.client.connected_server_version
    text = f"{version.major}.{version.minor}.{version.patch}"
    oldest = ".".join(map(str, OLDEST_VERSION))
    ok = (version.major, version.minor) >= OLDEST_VERSION
    detail = f"nats-server {text}" if ok else f"nats-server {text} is older than {oldest}"
    return Result("bus", ok=ok, detail=detail)


async def _streams(jetstream: JetStream, config: Config, wanted: Mapping[str, int]) -> Result:
    specs = list(streams(wanted))
    try:
        specs += await _inboxes(jetstream, config)
        faults = [
            fault for spec in specs if (fault := await _fault(jetstream, spec, config)) is not None
        ]
    except (UnavailableError, JetStreamError) as error:
        return Result("streams", ok=False, detail=str(error))
    detail = "; ".join(faults) or f"{len(specs)} stand as specified"
    return Result("streams", ok=not faults, detail=detail)


async def _inboxes(jetstream: JetStream, config: Config) -> list[StreamSpec]:
    """Return the inboxes that must stand: those of the settings, and of whom else there are."""
    found = {inbox_tenant(info["config"]["name"]) for info in await listing(jetstream)}
    return [inbox_spec(tenant, Timing()) for tenant in sorted(found.union(config.tenants))]


async def _shards(transport: NatsTransport, wanted: Mapping[str, int]) -> Result:
    """Look at the shards of the entity types whose actors are wanted, as far as they are known."""
    try:
        names = await entities_of(transport)
        said = await owned_shards(transport, seconds=ASK_SECONDS)
    except (UnavailableError, JetStreamError) as error:
        return Result("shards", ok=False, detail=str(error))
    known = entities()
    owned = [name for name in names if name not in known or known[name][1].name in wanted]
    return shards(said, dict.fromkeys(owned, 1))


async def _stores(transport: NatsTransport) -> Result:
    jetstream, fills = JetStream(transport), dict[str, Fill]()
    try:
        names = [journal_stream(entity) for entity in await entities_of(transport)]
        for name in (*names, BLOBS):
            fills[name] = fill_of(await jetstream.stream_info(name))
    except (UnavailableError, JetStreamError) as error:
        return Result("stores", ok=False, detail=str(error))
    return stores(fills)


async def _waiting_bills(jetstream: JetStream) -> int:
    try:
        info = await jetstream.stream_info(BILLS)
    except (UnavailableError, JetStreamError):
        return 0
    return int(info["state"]["messages"])


async def _fault(jetstream: JetStream, spec: StreamSpec, config: Config) -> str | None:
    try:
        info = await jetstream.stream_info(spec.name)
    except JetStreamError as error:
        if error.code == STREAM_NOT_FOUND:
            return f"{spec.name} is missing"
        raise
    found = differences(spec.settings(config.durability), info["config"])
    broken = sorted(ESSENTIAL & found.keys())
    return f"{spec.name} differs in {', '.join(broken)}" if broken else None


async def _asked(transport: NatsTransport) -> dict[str, Alive]:
    """Return what every process says of itself that answers in time."""
    patience = Patience(LISTEN_SECONDS)
    answers = await ask_all(transport, WHO_SUBJECT, b"", Alive, patience)
    return {each.process: each for each in answers}

"""``callboard up`` and ``callboard doctor``."""

from collections.abc import Sequence
from pathlib import Path

import anyio
import click

from actors.cli import checks, rendering
from actors.cli.session import EXIT_FAILURE, Session, first, leave, run, with_session
from actors.fleet.plan import REPLICAS, FleetPlan, chosen, counts
from actors.fleet.supervisor import Fleet
from bus import files
from bus.connection import connect
from bus.errors import CallboardError, ConfigError, UnavailableError

PORT = 4222

_ACTORS = ", ".join(REPLICAS)


@click.command()
@click.option("--actors", metavar="NAMES", help=f"Which actors to run, of: {_ACTORS}.  [all]")
@click.option(
    "--replicas",
    multiple=True,
    metavar="ACTOR=N",
    help="How many processes of an actor; may be repeated.  "
    f"[{' '.join(f'{name}={count}' for name, count in REPLICAS.items())}]",
)
@click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    help="Directory of all that is stored.  [env: CALLBOARD_DATA; default: .callboard]",
)
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port of the fleet's own nats-server on the loopback interface; 0 takes a free one.  "
    f"[default: {PORT}]",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Written when every process is ready: JSON with the bus' URL and all process ids.",
)
@click.option(
    "--apart", is_flag=True, help="Give every actor processes of its own, also the light ones."
)
@click.option("--no-loopback", is_flag=True, help="Do not let agents call this machine.")
@with_session
def up(
    session: Session,
    actors: str | None,
    replicas: Sequence[str],
    data: Path | None,
    port: int | None,
    ready_file: Path | None,
    **flags: bool,
) -> None:
    """Start a fleet on this machine: a nats-server, and the actors as processes.

    With NATS_URL set (or --url) the fleet joins that bus instead. A process that dies is started
    again. Ctrl-C lets all finish what they are at; a second one ends them at once.

    Exits with 0 after a clean stop, 78 if a setting is wrong or the port is taken, else with 1.
    """
    files.keep_private()
    if session.named and port is not None:
        raise click.UsageError(
            f"--port is that of a nats-server of the fleet's own, and this one joins "
            f"{session.urls[0]}: leave out --port, or unset NATS_URL (and --url)."
        )
    try:
        plan = FleetPlan(
            replicas=chosen(actors, replicas),
            data=(data or Path(session.config.data)).absolute(),
            url=",".join(session.urls) if session.named else None,
            port=PORT if port is None else port,
            loopback=not flags["no_loopback"],
            apart=flags["apart"],
            ready_file=ready_file,
        )
    except CallboardError as error:
        leave(error)
    run(lambda: _lived(plan, session))


async def _lived(plan: FleetPlan, session: Session) -> None:
    """Run a fleet to its end.

    Raises:
        ConfigError: nobody answers on the bus that it is to join.
    """
    try:
        await Fleet(plan, session.config).run()
    except* UnavailableError as group:
        if plan.url is None:
            raise
        cure = "start a nats-server there, or unset it so that `callboard up` starts its own"
        raise ConfigError("NATS_URL", f"{first(group)}: {cure}") from None


@click.command()
@click.option(
    "--wait",
    type=click.FloatRange(0, 3600),
    default=0.0,
    metavar="SECONDS",
    help="Look again for so long until all is well.",
)
@click.option(
    "--expect",
    metavar="ACTOR=N,…",
    help="How many ready processes there must be of each actor.  [at least one of each]",
)
@with_session
def doctor(session: Session, wait: float, expect: str | None) -> None:
    """Check bus, streams and processes; exit with 0 if all is well, with 1 if not.

    The bus must be reachable and new enough, all streams must stand as specified, the processes
    must be alive and ready, somebody must serve each shard, and no bills may wait where there is no
    pricing process.
    """
    try:
        wanted = counts(expect.split(","), "--expect") if expect else dict.fromkeys(REPLICAS, 1)
    except CallboardError as error:
        leave(error)
    results = run(lambda: _checked(session, wanted, wait))
    for result in results:
        mark = (
            rendering.styled("ok  ", fg="green")
            if result.ok
            else rendering.styled("FAIL", fg="red")
        )
        rendering.line(mark, f" {result.name:<10} {result.detail}")
    if not all(result.ok for result in results):
        raise click.exceptions.Exit(EXIT_FAILURE)


async def _checked(session: Session, wanted: dict[str, int], wait: float) -> list[checks.Result]:
    """Check until all is well or the time is over; return what was found last."""
    end = anyio.current_time() + wait
    while True:
        results = await _check_once(session, wanted)
        if all(result.ok for result in results) or anyio.current_time() >= end:
            return results
        await anyio.sleep(checks.PAUSE_SECONDS)


async def _check_once(session: Session, wanted: dict[str, int]) -> list[checks.Result]:
    try:
        async with connect(session.address()) as transport:
            return await checks.all_of(transport, wanted, session.config)
    except UnavailableError as error:
        return [checks.Result("bus", ok=False, detail=str(error))]

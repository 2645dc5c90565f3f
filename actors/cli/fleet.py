"""``callboard up``."""

from collections.abc import Sequence
from pathlib import Path

import click

from actors.cli.session import Session, first, leave, run, with_session
from actors.fleet.plan import REPLICAS, FleetPlan, chosen
from actors.fleet.supervisor import Fleet
from bus import files
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

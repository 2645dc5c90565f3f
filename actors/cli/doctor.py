"""``callboard doctor``."""

import anyio
import click

from actors.cli import checks, rendering
from actors.cli.session import EXIT_FAILURE, Session, leave, run, with_session
from actors.fleet.plan import REPLICAS, counts
from bus.connection import connect
from bus.errors import CallboardError, UnavailableError


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

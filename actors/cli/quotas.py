"""``callboard quotas``: how full each tenant is."""

import click

from actors.cli import rendering
from actors.cli.session import Session, with_session
from bus.runtime.quota_report import gathered, share

ASK_SECONDS = 0.8
TITLES = ("tenant", "quota", "used", "allowed", "full")


@click.command()
@click.option("--only", metavar="TENANT", help="Only the quotas of this tenant.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def quotas(session: Session, only: str | None, *, as_json: bool) -> None:
    """List what each tenant uses of its quotas, the fullest first.

    Requests under way are counted in each process by itself; told is the fullest one.

    For operators: it needs a user of the fleet.
    """
    told = session.run_as_fleet(lambda transport: gathered(transport, seconds=ASK_SECONDS))
    found = [use for use in told if only in (None, use.tenant)]
    if as_json:
        rendering.json(found)
        return
    rendering.table(
        TITLES,
        (
            (use.tenant, use.quota, f"{use.used:,}", f"{use.allowed:,}", f"{share(use):.0%}")
            for use in found
        ),
    )

"""The command ``callboard`` and all its parts."""

from importlib import metadata

import click

from actors.cli import (
    agents,
    budgets,
    contract,
    dead,
    executions,
    fleet,
    journal,
    prices,
    projections,
    providers,
    quotas,
    reconciliation,
    shards,
    shown,
)
from actors.cli.session import opened

CONTEXT = {"help_option_names": ["-h", "--help"]}


HELP = """Run LLM agents as independent processes that meet only on a NATS message bus.

\b
callboard up                          start a fleet on this machine
callboard agents apply FILE           create or change an agent
callboard run AGENT "the task"        run it and watch the answer come
callboard costs --by model            see what was spent
callboard doctor                      see whether all is well
"""


@click.group(context_settings=CONTEXT, help=HELP)
@click.option("--url", help="NATS servers, separated by commas.  [env: NATS_URL]")
@click.option("--tenant", help="The tenant to speak for.  [env: CALLBOARD_TENANT]")
@click.pass_context
def main(context: click.Context, url: str | None, tenant: str | None) -> None:
    """Open the session that all commands share."""
    context.obj = opened(url, tenant)


@main.command()
def version() -> None:
    """Print the version."""
    shown.line(metadata.version("callboard"))


for command in (
    fleet.up,
    fleet.doctor,
    agents.agents,
    executions.run,
    executions.generate,
    executions.stream,
    executions.executions,
    executions.conversations,
    contract.subjects,
    contract.schema,
    contract.config,
    contract.nats,
    dead.dead,
    shards.shards,
    quotas.quotas,
    projections.projections,
    reconciliation.costs,
    journal.journal,
    providers.provider,
    prices.prices,
    budgets.budgets,
):
    main.add_command(command)

"""The command ``callboard``: what is written by hand, and the requests of the contract.

Modules are imported when their command is called, so that help and mistakes are told at once.
"""

from pkgutil import resolve_name
from typing import Any

import click

from actors.cli import requests

EXIT_INTERRUPTED = 130

CONTEXT = {"help_option_names": ["-h", "--help"]}

HELP = """Run LLM agents as independent processes that meet only on a NATS message bus.

\b
callboard up                          start a fleet on this machine
callboard agents apply FILE           create or change an agent
callboard run AGENT "the task"        run it and watch the answer come
callboard costs --by model            see what was spent
callboard doctor                      see whether all is well
"""

BY_HAND = {
    "up": ("fleet:up", "Start a fleet on this machine."),
    "doctor": ("doctor:doctor", "Check bus, streams and processes."),
    "run": ("executions:run", "Run an agent and print the answer as it comes."),
    "generate": ("executions:generate", "Ask a model without an agent."),
    "stream": ("executions:stream", "Print the stream of an execution."),
    "costs": ("reconciliation:costs", "Show what was spent, and compare it with providers."),
    "prices": ("prices:prices", "Look at the rate book and change it."),
    "provider": ("providers:provider", "Try model providers, and see how they fare."),
    "quotas": ("quotas:quotas", "List what each tenant uses of its quotas."),
    "shards": ("shards:shards", "List who owns which shard."),
    "journal": ("journal:journal", "Read the journals: histories, states, snapshots."),
    "dead": ("dead:dead", "Look at what could not be handled, and hand it in again."),
    "projections": ("projections:projections", "Look at the tables made from journals."),
    "local-model": ("local_model:local_model", "Run a small real model on this machine."),
    "subjects": ("contract:subjects", "List every subject of the public contract."),
    "schema": ("contract:schema", "Print the contract as AsyncAPI or JSON Schema."),
    "config": ("contract:config", "Show what can be configured."),
    "nats": ("contract:nats", "Write configuration for a nats-server."),
    "version": ("contract:version", "Print the version."),
}
"""What is no single request: where each command is defined, and what it is for."""


class Commands(click.Group):
    """All commands; each is imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        del ctx
        return [*BY_HAND, *(name for name in requests.domains() if name not in BY_HAND)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command with what it needs."""
        del ctx
        if cmd_name in BY_HAND:
            return resolve_name(f"actors.cli.{BY_HAND[cmd_name][0]}")
        return requests.domain(cmd_name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C ends it with one line, also while modules are being imported."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            resolve_name("actors.cli.rendering:line")("interrupted", err=True)
            raise click.exceptions.Exit(EXIT_INTERRUPTED) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands by what they are for, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in BY_HAND.items()])
        with formatter.section("Requests"):
            rows = requests.domains().items()
            formatter.write_dl([(name, requests.summary(of)) for name, of in rows])


@click.group(cls=Commands, context_settings=CONTEXT, help=HELP)
@click.option("--url", help="NATS servers, separated by commas.  [env: NATS_URL]")
@click.version_option(package_name="callboard", message="%(version)s")
@click.option("--tenant", help="The tenant to speak for.  [env: CALLBOARD_TENANT]")
@click.pass_context
def main(context: click.Context, url: str | None, tenant: str | None) -> None:
    """Say where all commands find the bus, and for whom they speak."""
    context.obj = requests.Where(url, tenant)

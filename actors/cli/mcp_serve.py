"""``callboard mcp serve``: agents and tools over the Model Context Protocol."""

from pkgutil import resolve_name

import click

from actors.cli import rendering
from actors.cli.session import Session, with_session
from bus.client import Client


@click.command()
@click.option(
    "--http",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Serve HTTP on this port of the loopback interface, 0: a free one.  [standard streams]",
)
@click.option(
    "--call-seconds",
    type=click.FloatRange(min=1, max=86_400),
    default=3600.0,
    show_default=True,
    help="A call that takes longer is ended.",
)
@click.option(
    "--calls",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="How many calls may run at once.",
)
@click.option("--no-tools", is_flag=True, help="Offer agents alone, and nothing of MCP servers.")
@with_session
def serve(
    session: Session, http: int | None, call_seconds: float, calls: int, *, no_tools: bool
) -> None:
    """Offer the tenant's agents and tools over MCP: on standard input and output, or over HTTP.

    Each agent is a tool: it takes a task and the variables of its prompt, tells its answer as
    progress while it comes, and returns it. Tools of MCP servers are called as executions, under
    SERVER__TOOL; resources and prompts of the servers are passed on. A client that cancels a call
    over standard streams, or closes its stream in the revision 2026-07-28, ends the execution.
    Whoever reaches the port may do all that for this tenant: put what checks its callers before it.
    """

    async def body(client: Client) -> None:
        # Imported here because the SDK takes longer than other commands as a whole.
        offering = resolve_name("actors.cli.mcp_face.offering:Offering")(client, session.tenant)
        limits = (call_seconds, calls)
        await offering.serve(http, _say, limits, tools=not no_tools)

    session.run(body)


def _say(url: str) -> None:
    rendering.line(f"serving {url}; Ctrl-C stops it", err=True)

"""``callboard mcp check``: whether an MCP server can be used, and how it fares."""

from collections.abc import Iterator

import click

from actors.cli import rendering
from actors.cli.session import EXIT_FAILURE, Session, with_session
from schemas.tool_servers import CheckServer, ReplicaState, ServerState

CHECK_SECONDS = 40.0


@click.command()
@click.argument("server")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_session
def check(session: Session, server: str, *, as_json: bool) -> None:
    """Ask an MCP server for a sign of life and its tools; exits with 1 if it does not answer.

    Shown is what the process of the pool knows that has answered: its sessions, circuits, and what
    it holds open for all servers together.
    """
    question = CheckServer(server=server)
    state: ServerState = session.run(
        lambda client: client.request(session.tenant, question, timeout=CHECK_SECONDS)
    )
    if as_json:
        rendering.json(state)
    else:
        for line in shown(state):
            rendering.line(line)
    if not state.reachable:
        raise click.exceptions.Exit(EXIT_FAILURE)


def shown(state: ServerState) -> Iterator[str]:
    """Yield the lines that tell of a server. Pure."""
    if state.reachable:
        latency = f" in {state.latency_ms:.1f} ms" if state.latency_ms is not None else ""
        yield f"{state.server} answers{latency}: {state.tools} tools (list {state.digest[:12]})"
    else:
        yield f"{state.server} does not answer: {state.fault}"
    if state.protocol:
        yield f"  {state.name or 'a server'}, {state.lane}, protocol {state.protocol}"
    for why in state.dropped:
        yield f"  left out: {why}"
    yield f"  {state.in_flight} calls run, {state.waiting} wait"
    yield from map(_replica, state.replicas)
    held = ", ".join(f"{count} {kind}" for kind, count in sorted(state.ledger.open.items()))
    leaked = {kind: count for kind, count in state.ledger.leaked.items() if count}
    lost = ", ".join(f"{count} {kind}" for kind, count in sorted(leaked.items())) or "none"
    yield f"  open for all servers: {held or 'nothing'}; left open: {lost}"


def _replica(replica: ReplicaState) -> str:
    return (
        f"  replica {replica.replica}: circuit {replica.circuit.replace('_', ' ')}, "
        f"{replica.sessions} sessions, {replica.in_flight} calls, "
        f"{replica.latency_ms:.1f} ms, {replica.errors:.0%} failed"
    )

"""``callboard run``, ``generate``, ``stream``, ``executions`` and ``conversations``."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

import click

from actors.cli import shown
from actors.cli.agents import built
from actors.cli.session import EXIT_FAILURE, EXIT_INTERRUPTED, Session, said, with_session
from bus.client import Client, follow
from bus.ids import new_id
from schemas.conversations import (
    Conversation,
    ConversationList,
    GetConversation,
    ListConversations,
)
from schemas.executions import (
    CancelExecution,
    ExecuteAgent,
    ExecutionHandle,
    ExecutionList,
    ExecutionRecord,
    Generate,
    GetExecution,
    ListExecutions,
)
from schemas.streams import Cancelled, Completed, Failed, ReadStream, Terminal

PATIENCE_SECONDS = 3.0
"""A restarted process or bus answers again within this time."""

TITLES = ("execution", "agent", "status", "created", "ms", "tokens", "attempts", "session")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
limit = click.option("--limit", type=int, default=50, show_default=True)
offset = click.option("--offset", type=int, default=0, show_default=True)


@click.command()
@click.argument("agent")
@click.argument("task")
@click.option("--context", "pairs", multiple=True, metavar="K=V", help="A variable of its prompt.")
@click.option("--session", "conversation", metavar="ID", help="The conversation to go on with.")
@click.option("--id", "run_id", metavar="ID", help="The same id is the same run.")
@click.option("--max-tokens", type=int, help="The longest answer.")
@click.option("--user", help="For whom it is; stored with the execution.")
@click.option("--project", help="For what it is; stored with the execution.")
@click.option("--json", "json_", is_flag=True, help="Print each event of the stream as JSON.")
@with_session
def run(
    session: Session,
    agent: str,
    task: str,
    pairs: Sequence[str],
    conversation: str | None,
    run_id: str | None,
    *,
    json_: bool,
    **more: Any,
) -> None:
    """Run AGENT on TASK and print the answer as it comes; - reads the task from standard input.

    Exits with 0 only if the execution completes. Ctrl-C leaves it running.
    """
    execution_id = run_id or new_id()
    fields = {
        "agent_id": agent,
        "task": sys.stdin.read() if task == "-" else task,
        "context": _context(pairs),
        "session": conversation,
        "id": execution_id,
        **more,
    }
    wanted: ExecuteAgent = built(ExecuteAgent, fields)

    async def body(client: Client) -> Terminal | None:
        handle: ExecutionHandle = await client.insist(
            session.tenant, wanted, patience=PATIENCE_SECONDS
        )
        return await _show(client, session, handle.execution_id, None, json_=json_)

    _end(_interruptible(session, body, execution_id))


@click.command()
@click.argument("model", metavar="PROVIDER/MODEL")
@click.argument("prompt")
@click.option("--system", help="Instructions that go before the prompt.")
@click.option("--base-url", help="Another server than the provider's usual one.")
@click.option("--secret", help="The name of the key to use.")
@click.option("--temperature", type=float, help="How much chance there is in the answer.")
@click.option("--max-tokens", type=int, help="The longest answer.")
@click.option("--batch", is_flag=True, help="By the provider's batch API: cheaper, within a day.")
@click.option("--id", "run_id", metavar="ID", help="The same id is the same run.")
@click.option("--json", "json_", is_flag=True, help="Print each event of the stream as JSON.")
@with_session
def generate(
    session: Session,
    model: str,
    prompt: str,
    system: str | None,
    run_id: str | None,
    *,
    json_: bool,
    **more: Any,
) -> None:
    """Ask a model without an agent, such as openai/gpt-4o-mini, and print the answer as it comes.

    A PROMPT of - is read from standard input. Exits with 0 only if the answer is whole. Ctrl-C
    leaves it running.
    """
    execution_id = run_id or new_id()
    text = sys.stdin.read() if prompt == "-" else prompt
    wanted: Generate = built(Generate, _plain(model, text, system, execution_id, more))

    async def body(client: Client) -> Terminal | None:
        handle: ExecutionHandle = await client.insist(
            session.tenant, wanted, patience=PATIENCE_SECONDS
        )
        if wanted.batch:
            waits = f"In a batch, which may take a day: callboard stream {handle.execution_id}"
            shown.line(waits, err=True)
        return await _show(client, session, handle.execution_id, None, json_=json_)

    _end(_interruptible(session, body, execution_id))


@click.command()
@click.argument("execution")
@click.option("--after", metavar="CURSOR", help="The last event that is known, such as 1.17.")
@click.option("--json", "json_", is_flag=True, help="Print each event as JSON.")
@with_session
def stream(session: Session, execution: str, after: str | None, *, json_: bool) -> None:
    """Print the stream of EXECUTION from its beginning, or from a cursor, to its end.

    Exits with 0 only if the execution completes.
    """
    built(ReadStream, {"execution_id": execution, "after": after})
    wanted: GetExecution = built(GetExecution, {"execution_id": execution})

    async def body(client: Client) -> Terminal | None:
        await client.insist(session.tenant, wanted, patience=PATIENCE_SECONDS)
        return await _show(client, session, execution, after, json_=json_)

    _end(_interruptible(session, body, execution))


@click.group()
def executions() -> None:
    """List, read and cancel executions."""


@executions.command("list")
@click.option("--status", help="Only those with this status, such as RUNNING.")
@click.option("--agent", "agent_id", help="Only those of this agent.")
@click.option("--session", "conversation", help="Only those of this conversation.")
@limit
@offset
@as_json
@with_session
def list_executions(
    session: Session, conversation: str | None, *, as_json: bool, **query: Any
) -> None:
    """List executions, newest first."""
    wanted = built(ListExecutions, {**query, "session": conversation})
    found: ExecutionList = session.run(lambda client: client.request(session.tenant, wanted))
    if as_json:
        shown.json(found)
        return
    rows = (
        (
            row.execution_id,
            row.agent_id,
            row.status,
            row.created_at,
            row.duration_ms,
            row.tokens_used,
            row.attempts,
            row.session,
        )
        for row in found.executions
    )
    shown.table(TITLES, rows, total=found.total)


@executions.command("get")
@click.argument("execution")
@click.option("--output", is_flag=True, help="Print only the answer.")
@with_session
def get_execution(session: Session, execution: str, *, output: bool) -> None:
    """Print the stored execution as JSON."""
    wanted = built(GetExecution, {"execution_id": execution})
    record: ExecutionRecord = session.run(lambda client: client.request(session.tenant, wanted))
    if output:
        shown.line(record.output or "")
    else:
        shown.json(record)


@executions.command()
@click.argument("execution")
@click.option("--reason", help="Stored with the execution.")
@with_session
def cancel(session: Session, execution: str, reason: str | None) -> None:
    """End an execution now."""
    wanted = built(CancelExecution, {"execution_id": execution, "reason": reason})
    handle: ExecutionHandle = session.run(lambda client: client.request(session.tenant, wanted))
    shown.line(f"{handle.execution_id}: {handle.status}")


@click.group()
def conversations() -> None:
    """Read what was said in sessions."""


@conversations.command("list")
@click.argument("agent")
@limit
@offset
@as_json
@with_session
def list_conversations(session: Session, agent: str, *, as_json: bool, **query: Any) -> None:
    """List the sessions of AGENT, the most recently used first."""
    wanted = built(ListConversations, {"agent_id": agent, **query})
    found: ConversationList = session.run(lambda client: client.request(session.tenant, wanted))
    if as_json:
        shown.json(found)
        return
    rows = ((row.session, row.last_at, row.last_execution_id) for row in found.conversations)
    shown.table(("session", "last turn", "execution"), rows, total=found.total)


@conversations.command("get")
@click.argument("agent")
@click.argument("conversation", metavar="SESSION")
@as_json
@with_session
def get_conversation(session: Session, agent: str, conversation: str, *, as_json: bool) -> None:
    """Print the turns of a session, oldest first."""
    wanted = built(GetConversation, {"agent_id": agent, "session": conversation})
    found: Conversation = session.run(lambda client: client.request(session.tenant, wanted))
    if as_json:
        shown.json(found)
        return
    for turn in found.turns:
        shown.line(shown.styled("user", bold=True), f": {turn.user}")
        shown.line(shown.styled(agent, bold=True), f": {turn.assistant}\n")


# Following


async def _show(
    client: Client, session: Session, execution_id: str, after: str | None, *, json_: bool
) -> Terminal | None:
    """Show a stream and return its end."""
    answer = shown.Answer()
    size = session.config.stream_buffer_size
    followed = follow(client, session.tenant, execution_id, after, buffer_size=size)
    async with aclosing(followed) as events:
        async for event in events:
            if json_:
                shown.json_line(event)
            else:
                answer.show(event)
            if isinstance(event, Terminal):
                return event
    return None


def _interruptible(session: Session, body: Any, execution_id: str) -> Terminal | None:
    try:
        return session.run(body)
    except KeyboardInterrupt:
        shown.line(f"\nIt runs on: callboard stream {execution_id}", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def _end(end: Terminal | None) -> None:
    match end:
        case Completed():
            return
        case Failed(error=error):
            shown.line(said(error), err=True)
        case Cancelled(reason=reason):
            shown.line(f"cancelled: {reason}", err=True)
        case None:
            shown.line("the stream has ended without a last event", err=True)
    raise click.exceptions.Exit(EXIT_FAILURE)


def _plain(
    model: str, prompt: str, system: str | None, execution_id: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the fields of a plain generation."""
    kind, _, name = model.partition("/")
    at_provider, config = ("base_url", "secret"), ("temperature", "max_tokens")
    said = {"role": "system", "content": system}
    return {
        "id": execution_id,
        "provider": {"type": kind, "model": name} | _given(more, at_provider),
        "messages": [*([said] if system else []), {"role": "user", "content": prompt}],
        "config": _given(more, config),
        "batch": more["batch"],
    }


def _given(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields[name] is not None}


def _context(pairs: Sequence[str]) -> dict[str, str]:
    context: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{pair!r} must be NAME=VALUE", param_hint="--context")
        context[name] = value
    return context

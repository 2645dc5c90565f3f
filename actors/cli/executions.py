"""``callboard run``, ``generate`` and ``stream``."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import click

from actors.cli import rendering
from actors.cli.asking import built
from actors.cli.fields import options
from actors.cli.session import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    Session,
    leave,
    rendered,
    with_session,
)
from bus import files
from bus.client import Client, follow
from bus.errors import CallboardError, ProblemError
from bus.ids import new_id
from bus.tasks import background
from schemas.executions import (
    ExecuteAgent,
    ExecutionHandle,
    ExecutionRecord,
    Generate,
    GetExecution,
)
from schemas.streams import Cancelled, Completed, Failed, ReadStream, Terminal

PATIENCE_SECONDS = 3.0
"""A restarted process or bus answers again within this time."""


QUIET_SECONDS = 3.0
"""After so long without an event it is asked whether anybody works on an execution."""

NO_WORKER = "[waiting for a worker: `callboard doctor` tells how many there are]"

OF_A_RUN = [one for one in options(ExecuteAgent) if one.name not in ("task", "context")]


@click.command(params=[*OF_A_RUN])
@click.argument("agent_id", metavar="AGENT")
@click.argument("task")
@click.option("--context", "pairs", multiple=True, metavar="K=V", help="A variable of its prompt.")
@click.option("--json", "json_", is_flag=True, help="Print each event of the stream as JSON.")
@with_session
def run(bus: Session, task: str, pairs: Sequence[str], *, json_: bool, **fields: Any) -> None:
    """Run AGENT on TASK and print the answer as it comes; - reads the task from standard input.

    Exits with 0 only if the execution completes. Ctrl-C leaves it running.
    """
    execution_id = fields["id"] or new_id()
    fields |= {"id": execution_id, "context": _context(pairs), "task": _text(task)}
    wanted: ExecuteAgent = built(ExecuteAgent, fields)

    async def body(client: Client) -> Terminal | None:
        handle: ExecutionHandle = await client.insist(bus.tenant, wanted, patience=PATIENCE_SECONDS)
        rendering.line(rendering.styled(f"[execution {handle.execution_id}]", dim=True), err=True)
        for warning in handle.warnings:
            rendering.warn(warning)
        return await _show(client, bus, handle.execution_id, None, json_=json_)

    _end(_interruptible(bus, body, execution_id))


@click.command()
@click.argument("model", metavar="PROVIDER/MODEL")
@click.argument("prompt")
@click.option("--system", help="Instructions that go before the prompt.")
@click.option("--base-url", help="Another server than the provider's usual one.")
@click.option("--secret", help="The name of the key to use.")
@click.option("--temperature", type=float, help="How much chance there is in the answer.")
@click.option("--max-tokens", type=int, help="The longest answer.")
@click.option(
    "--schema",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the JSON Schema of the answer, in JSON or YAML.",
)
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
    text = _text(prompt)
    wanted: Generate = built(Generate, _plain(model, text, system, execution_id, more))

    async def body(client: Client) -> Terminal | None:
        handle: ExecutionHandle = await client.insist(
            session.tenant, wanted, patience=PATIENCE_SECONDS
        )
        if wanted.batch:
            waits = f"In a batch, which may take a day: callboard stream {handle.execution_id}"
            rendering.line(waits, err=True)
        return await _show(client, session, handle.execution_id, None, json_=json_)

    _end(_interruptible(session, body, execution_id))


@click.command()
@click.argument("execution")
@click.option("--after", metavar="CURSOR", help="The last event that is known, such as 1.17.")
@click.option("--json", "json_", is_flag=True, help="Print each event as JSON.")
@with_session
def stream(session: Session, execution: str, after: str | None, *, json_: bool) -> None:
    """Print the stream of EXECUTION from its beginning, or from a cursor, to its end.

    An instance of a workflow has a stream too. Exits with 0 only if the execution completes.
    """
    built(ReadStream, {"execution_id": execution, "after": after})
    wanted: ReadStream = built(ReadStream, {"execution_id": execution, "limit": 1})

    async def body(client: Client) -> Terminal | None:
        await client.insist(session.tenant, wanted, patience=PATIENCE_SECONDS)
        return await _show(client, session, execution, after, json_=json_)

    _end(_interruptible(session, body, execution))


# Following


async def _show(
    client: Client, session: Session, execution_id: str, after: str | None, *, json_: bool
) -> Terminal | None:
    """Show a stream and return its end."""
    answer, heard = rendering.ShownAnswer(), anyio.Event()
    size = session.config.stream_buffer_size
    followed = follow(client, session.tenant, execution_id, after, buffer_size=size)
    quiet = partial(_tell_quiet, client, session, execution_id, heard)
    async with background(quiet), aclosing(followed) as events:
        async for event in events:
            heard.set()
            if json_:
                rendering.json_line(event)
            else:
                answer.show(event)
            if isinstance(event, Terminal):
                return event
    return None


async def _tell_quiet(
    client: Client, session: Session, execution_id: str, heard: anyio.Event
) -> None:
    """Say once that no worker has begun, where nothing has been heard for a while."""
    with anyio.move_on_after(QUIET_SECONDS):
        await heard.wait()
    if heard.is_set():
        return
    try:
        wanted = GetExecution(execution_id=execution_id)
        record: ExecutionRecord = await client.request(session.tenant, wanted)
    except CallboardError:
        # Who follows the stream says what is wrong.
        return
    if record.status == "PENDING" and not heard.is_set():
        rendering.line(rendering.styled(NO_WORKER, dim=True), err=True)


def _interruptible(session: Session, body: Any, execution_id: str) -> Terminal | None:
    try:
        return session.run(body)
    except KeyboardInterrupt:
        rendering.line(f"\nIt runs on: callboard stream {execution_id}", err=True)
        raise click.exceptions.Exit(EXIT_INTERRUPTED) from None


def _end(end: Terminal | None) -> None:
    match end:
        case Completed():
            return
        case Failed(error=error):
            rendering.line(rendered(error), err=True)
        case Cancelled(reason=reason):
            rendering.line(f"cancelled: {reason}", err=True)
        case None:
            rendering.line("the stream has ended without a last event", err=True)
    raise click.exceptions.Exit(EXIT_FAILURE)


def _plain(
    model: str, prompt: str, system: str | None, execution_id: str, more: Mapping[str, Any]
) -> dict[str, Any]:
    """Write the fields of a plain generation."""
    kind, _, name = model.partition("/")
    at_provider, config = ("base_url", "secret"), ("temperature", "max_tokens")
    rendered = {"role": "system", "content": system}
    schema = _schema(more["schema"])
    return {
        "id": execution_id,
        "provider": {"type": kind, "model": name} | _given(more, at_provider),
        "messages": [*([rendered] if system else []), {"role": "user", "content": prompt}],
        "config": _given(more, config),
        **({"response_format": schema} if schema else {}),
        "batch": more["batch"],
    }


def _schema(file: Path | None) -> dict[str, Any] | None:
    """Return the format that a file with a JSON Schema asks for."""
    if file is None:
        return None
    try:
        return {"type": "json_schema", "schema": files.of(file, dict[str, Any])}
    except ProblemError as error:
        leave(error)


def _given(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if fields[name] is not None}


def _text(given: str) -> str:
    return sys.stdin.read() if given == "-" else given


def _context(pairs: Sequence[str]) -> dict[str, str]:
    context: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise click.BadParameter(f"{pair!r} must be NAME=VALUE", param_hint="--context")
        context[name] = value
    return context

"""``callboard dead``: letters that could not be handled."""

from collections.abc import Sequence
from typing import Any

import click

from actors.cli import rendering
from actors.cli.session import EXIT_FAILURE, Session, with_session
from bus.codec import decode
from bus.config import Timing
from bus.connection import NatsTransport
from bus.errors import DeadlineError, ProblemError, UnavailableError, problem
from bus.jetstream.publishing import store
from bus.jetstream.reading import StreamReader
from bus.ports import MESSAGE_ID
from bus.requests.inboxes.rules import EVERY_SUBMISSION, redrive_id
from bus.requests.rpc import Owners
from bus.streams.api import JetStream, JetStreamError
from bus.streams.spec import DEAD
from bus.subjects import matches
from bus.work.worker import redriven_item
from schemas.journal import CommandEnvelope
from schemas.letters import COMMAND, WORK, DeadLetter

SUBJECTS = "_cb.dead.>"
MOST = 1000
ANSWER_SECONDS = 10.0

Letter = tuple[int, DeadLetter]


@click.group()
def dead() -> None:
    """Look at work and commands that could not be handled, and hand them in again.

    For operators: it needs a user of the fleet.
    """


@dead.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the bodies.")
@with_session
def list_letters(session: Session, *, as_json: bool) -> None:
    """List dead letters, oldest first."""
    letters = session.run_as_fleet(_letters)
    if as_json:
        rendering.json([{"sequence": sequence, "letter": letter} for sequence, letter in letters])
        return
    rows = ((n, x.at, x.subject, x.deliveries, x.reason) for n, x in letters)
    rendering.table(("number", "at", "subject", "deliveries", "reason"), rows)


@dead.command()
@click.argument("numbers", nargs=-1, type=int)
@click.option("--all", "every", is_flag=True, help="All of them.")
@with_session
def redrive(session: Session, numbers: Sequence[int], *, every: bool) -> None:
    """Hand letters in again where they came from; those that arrive are dead no more."""
    if not numbers and not every:
        raise click.UsageError("name the NUMBERS of letters, or --all")

    async def body(transport: NatsTransport) -> list[str]:
        letters = await _letters(transport)
        chosen = [item for item in letters if every or item[0] in numbers]
        failures = [f"{n}: there is no such letter" for n in _unknown(numbers, letters)]
        for item in chosen:
            failure = await _redrive(transport, item, session.config.shards)
            failures += [failure] if failure else []
        rendering.line(f"{len(chosen)} found, {len(failures)} failed")
        return failures

    failures = session.run_as_fleet(body)
    for failure in failures:
        rendering.line(failure, err=True)
    if failures:
        raise click.exceptions.Exit(EXIT_FAILURE)


def addressed(letter: DeadLetter) -> tuple[str, CommandEnvelope]:
    """Return the entity that a letter goes back to, and the command that goes there. Pure.

    Raises:
        ProblemError: it names no entity, or holds no command.
    """
    if letter.subject.startswith(WORK):
        return redriven_item(letter.id)
    if not letter.subject.startswith(COMMAND):
        raise problem("validation", f"nothing is handed in on {letter.subject}")
    return letter.subject.removeprefix(COMMAND), decode(CommandEnvelope, letter.body.encode())


async def _letters(transport: NatsTransport) -> list[Letter]:
    stored = await StreamReader(transport).read_subject(DEAD, SUBJECTS, limit=MOST)
    return [(message.sequence, decode(DeadLetter, message.data)) for message in stored]


async def _redrive(transport: NatsTransport, item: Letter, shards: int) -> str | None:
    """Hand a letter in under the id it had; return why that failed, None if it did not."""
    sequence, letter = item
    try:
        if matches(EVERY_SUBMISSION, letter.subject):
            # Once, however often this is repeated.
            headers, body = {MESSAGE_ID: redrive_id(letter.id, sequence)}, letter.body.encode()
            await store(transport, letter.subject, body, headers=headers, timeout=ANSWER_SECONDS)
        else:
            entity, envelope = addressed(letter)
            owners = Owners(transport, entity, shards, Timing())
            await owners.ask(envelope, timeout=ANSWER_SECONDS)
        await _remove(transport, sequence)
    except (DeadlineError, JetStreamError, ProblemError, UnavailableError) as error:
        return f"{sequence}: {error}"
    return None


async def _remove(transport: NatsTransport, sequence: int) -> None:
    wanted: dict[str, Any] = {"seq": sequence}
    await JetStream(transport).call(f"STREAM.MSG.DELETE.{DEAD}", wanted)


def _unknown(numbers: Sequence[int], letters: Sequence[Letter]) -> list[int]:
    known = {sequence for sequence, _ in letters}
    return [number for number in numbers if number not in known]

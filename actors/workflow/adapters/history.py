"""The stored turns of instances: they outlive the journal, and are read here."""

from collections.abc import AsyncGenerator
from datetime import datetime
from typing import Protocol

import msgspec

from actors.workflow.core.messages import RunCommand, RunStep, Turned
from bus.codec import MessageDecoder
from bus.errors import problem
from bus.fairness import Turnstile
from bus.ports import StoredMessage
from bus.subjects import fill
from schemas.workflow_runs import TURN_SUBJECT, RunGlance

STREAM = "EXECUTIONS"

PAGE = 256

MOST_TURNS = 20_000
"""Of an instance whose turns are all read at once."""

AT_ONCE, WAITING, AT_ONCE_ALL = 2, 64, 8
"""Histories of a tenant that are read at once, and that wait for it; and of all tenants."""


class ReadTurns(Protocol):
    """Reads what a stream holds of a subject, in the order in which it was stored."""

    async def __call__(
        self, stream: str, subject: str, *, start: int = 1, limit: int
    ) -> list[StoredMessage]:
        """Return the first messages from a sequence on; none means the end."""
        ...


class StoredTurn(msgspec.Struct):
    """A stored turn, to be decided on again."""

    turn: int
    at: datetime
    cause: RunCommand
    steps: tuple[RunStep, ...]
    glance: RunGlance

    @property
    def turned(self) -> Turned:
        """The event of the journal that it was."""
        return Turned(at=self.at, cause=self.cause, steps=self.steps, glance=self.glance)


_stored: MessageDecoder[StoredTurn] = MessageDecoder(StoredTurn)


class Histories:
    """Reads turns, which are all of an instance or, where they are too many, the first ones."""

    def __init__(self, read: ReadTurns) -> None:
        self._read = read
        self._gate = Turnstile(
            "workflows.history", at_once=AT_ONCE, waiting=WAITING, at_once_all=AT_ONCE_ALL
        )

    async def some(self, tenant: str, instance: str, after: int, limit: int) -> list[StoredTurn]:
        """Return the turns that follow one, as far as they are stored."""
        found: list[StoredTurn] = []
        async with self._gate.turn(tenant):
            for number in range(after + 1, after + limit + 1):
                subject = fill(TURN_SUBJECT, tenant=tenant, instance_id=instance, turn=str(number))
                stored = await self._read(STREAM, subject, limit=1)
                if not stored:
                    break
                found.append(_stored(stored[0].data))
        return found

    async def all(self, tenant: str, instance: str, until: int | None = None) -> list[Turned]:
        """Return all turns from the first one on, up to ``until``.

        Raises:
            ProblemError: ``not_found``: they are not stored, or not that far; ``validation``: there
                are too many.
        """
        found = {turn.turn: turn async for turn in self._each(tenant, instance, until)}
        last = until if until is not None else len(found)
        if not found or last > len(found) or any(n not in found for n in range(1, last + 1)):
            message = "its turns are not stored, or not that far"
            raise problem("not_found", message, field="at" if until else "instance_id")
        return [found[number].turned for number in range(1, last + 1)]

    async def _each(
        self, tenant: str, instance: str, until: int | None
    ) -> AsyncGenerator[StoredTurn]:
        subject = f"{fill(TURN_SUBJECT, tenant=tenant, instance_id=instance, turn='0')[:-1]}*"
        start = read = 1
        async with self._gate.turn(tenant):
            while page := await self._read(STREAM, subject, start=start, limit=PAGE):
                for stored in page:
                    turn = _stored(stored.data)
                    if until is None or turn.turn <= until:
                        yield turn
                start, read = page[-1].sequence + 1, read + len(page)
                if read > MOST_TURNS:
                    message = f"it has more than {MOST_TURNS} turns"
                    raise problem("validation", message, field="instance_id")

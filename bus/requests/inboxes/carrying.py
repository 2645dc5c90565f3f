"""Seeing a submitted command carried out, or dead-lettered with the reason."""

from collections.abc import Mapping
from functools import partial
from random import random
from typing import Any

import msgspec

from bus.codec import accepting, decode, encode
from bus.config import Timing
from bus.errors import NobodyListensError, ProblemError, TransientError
from bus.fairness.slices import Slices
from bus.jetstream import NatsBus
from bus.requests.caller import SUBMISSION, Caller
from bus.requests.dead_letters import post_letter
from bus.requests.inboxes.pull import PulledCommand
from bus.requests.inboxes.rules import (
    InboxRules,
    command_name,
    next_try,
    no_command,
    pause,
    request_subject,
    too_old,
)
from bus.requests.rpc import Owners
from bus.requests.service import ServiceEndpoint
from bus.streams.spec import inbox_stream
from bus.subjects import fill
from schemas.base import Message, Value
from schemas.events import CommandRejectedEvent
from schemas.fleet import UNHEARD_RESULT, UnheardResult
from schemas.ids import Token
from schemas.letters import DeadLetter, dead_lettered
from schemas.problems import Problem

_WRONG_TENANT = Problem(code="validation", message="The result is of another tenant's work.")


class _Named(Value):
    """The only field of a command that matters before it is decoded."""

    id: Token | None = None


class _Tag(msgspec.Struct):
    type: Any = None


class Carrier:
    """Has commands carried out: by the endpoints of this process, by name, or by other services."""

    def __init__(
        self,
        endpoints: Mapping[str, ServiceEndpoint],
        bus: NatsBus,
        timing: Timing,
        rules: InboxRules,
        shards: int,
    ) -> None:
        self._endpoints = endpoints
        self._bus = bus
        self._timing = timing
        self._rules = rules
        self._shards = shards
        self._slices = Slices()

    async def handle(self, command: PulledCommand) -> None:
        """Deal with one delivery of a command.

        Raises:
            DeadlineError: its refusal is not known to be stored; the command comes again.
        """
        ticket = command.ticket
        if ticket.age >= self._rules.seconds:
            await self._reject(command, too_old(self._rules.days, None))
            return
        answer = await self._answer(command)
        if not isinstance(answer, Problem):
            await ticket.ack()
        elif not answer.retryable:
            await self._reject(command, answer)
        elif (seconds := self._next_try(command, answer)) is not None:
            await ticket.nak(seconds)
        else:
            await self._reject(command, too_old(self._rules.days, answer))

    def _next_try(self, command: PulledCommand, refusal: Problem) -> float | None:
        timing, spread = self._timing, random()  # noqa: S311  spreads load
        first, most = timing.submit_retry_seconds, timing.submit_pause_seconds
        wanted = pause(command.ticket.deliveries, refusal.retry_after, first, most, spread)
        return next_try(command.ticket.age, self._rules.seconds, wanted, first)

    async def _answer(self, command: PulledCommand) -> Message | None:
        """Have a command carried out: here if this process can, else where one can."""
        name = command_name(command.subject)
        if name == UNHEARD_RESULT:
            return await self._reported(command)
        impossible = no_command(name)
        if impossible is not None:
            return impossible
        endpoint = self._endpoints.get(name)
        if endpoint is None:
            return await self._requested(command)
        caller = Caller(tenant=command.tenant, submission=command.id)
        return await endpoint.answer(caller, command.ticket.data)

    async def _requested(self, command: PulledCommand) -> Problem | None:
        """Request a command of its service; return its refusal, None if it is carried out."""
        subject, headers = request_subject(command.subject), {SUBMISSION: command.id}
        request = partial(self._bus.transport.request, timeout=self._timing.answer_seconds * 2)
        try:
            answer = await request(subject, command.ticket.data, headers=headers)
            if decode(_Tag, answer.data).type != "problem":
                return None
            return decode(Problem, answer.data)
        except NobodyListensError:
            return _unavailable("no process that carries out such commands is there")
        except TransientError as error:
            return _unavailable(str(error))
        except ProblemError as error:
            return error.problem

    async def _reported(self, command: PulledCommand) -> Problem | None:
        """Tell an entity what became of its work; return its refusal, None if it has heard."""
        try:
            result = decode(UnheardResult, command.ticket.data)
            if result.envelope.tenant != command.tenant:
                return _WRONG_TENANT
            owners = Owners(self._bus.transport, result.entity, self._shards, self._timing)
            await owners.ask(result.envelope, timeout=self._timing.answer_seconds)
        except ProblemError as refused:
            return refused.problem
        return None

    # Refusing

    async def _reject(self, command: PulledCommand, problem: Problem) -> None:
        """Publish the refusal, lay the command aside, and only then let go of it."""
        now, ticket = self._bus.clock(), command.ticket
        name = await self._id_of(ticket.data) or command.id
        event = CommandRejectedEvent(id=name, command=command.subject, error=problem, at=now)
        letter = DeadLetter(
            id=name,
            subject=command.subject,
            reason=f"{problem.code}: {problem.message}",
            at=now,
            deliveries=ticket.deliveries,
            body=ticket.data.decode(errors="replace"),
        )
        subject = fill(CommandRejectedEvent.SUBJECT or "", tenant=command.tenant, id=name)
        post, once = self._bus.outbox.post, f"{inbox_stream(command.tenant)}.{ticket.sequence}"
        await post(subject, encode(event), message_id=once)
        dead = dead_lettered(letter, command.tenant, "submit", once=once)
        await post_letter(self._bus.outbox, dead)
        await self._bus.outbox.flush(timeout=self._timing.answer_seconds)
        await ticket.ack()

    async def _id_of(self, data: bytes) -> str | None:
        try:
            return (await self._slices.run(accepting(_Named, data))).id
        except ProblemError:
            return None


def _unavailable(reason: str) -> Problem:
    return Problem(code="unavailable", message=reason, retryable=True)

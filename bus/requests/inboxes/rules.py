"""What becomes of a submitted command: its id, its pauses, its refusals. Pure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

import msgspec

from bus.config import Config
from bus.ports import MESSAGE_ID
from bus.subjects import is_token
from schemas import catalog
from schemas.problems import Problem

EVERY_SUBMISSION = "cb.*.submit.>"

RELAYED = "Callboard-Relayed"
"""Marks what the fleet itself has put into an inbox for its sender, and whose message id it has."""

GIVEN, MADE = "given", "made"

LONGEST_ASKED_PAUSE = 300.0
"""Seconds; a refusal that asks for a longer pause is tried again after this one."""

_CONTROL = "nats-"
_HARMLESS = frozenset({MESSAGE_ID, "Nats-Request-Info"})
"""The server itself adds the second one where a message passes from account to account."""

_REDRIVEN = re.compile(r"redrive\.([A-Za-z0-9_-]{1,64})\.[0-9]+\Z")
_DIGITS = 32

TRY_AGAIN = (503, 10008)
TOO_MANY_TENANTS = (400, 10027)
"""JetStream's status and error code for what its clients are to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxRules:
    """What an operator decides: who has an inbox from the start, how many, and for how long."""

    tenants: tuple[str, ...] = ("local",)
    most: int = 500
    days: float = 7.0

    @property
    def seconds(self) -> float:
        """For how long a command is tried."""
        return self.days * 86_400


def rules(config: Config) -> InboxRules:
    """Return this part of the settings."""
    return InboxRules(tenants=config.tenants, most=config.max_tenants, days=config.submitted_days)


# Names


def tenant_of(subject: str) -> str:
    """Return the tenant of a submission's subject."""
    return subject.split(".", 2)[1]


def command_name(subject: str) -> str:
    """Return what a submission's subject says after ``submit``: ``agents.execute``."""
    return subject.split(".", 3)[3]


def request_subject(subject: str) -> str:
    """Return the subject on which the same command is requested."""
    return f"cb.{tenant_of(subject)}.{command_name(subject)}"


def given_id(headers: Mapping[str, str] | None) -> str | None:
    """Return the message id that a sender has given, None if there is none but the fleet's own."""
    found = headers or {}
    return None if found.get(RELAYED) == MADE else found.get(MESSAGE_ID)


def submission_id(stream: str, sequence: int, message_id: str | None) -> str:
    """Return the id of a command whose body names none: the same for each repeat of it.

    That is ``<stream>-<sequence>`` as the receipt has them, or made from the ``Nats-Msg-Id``. A
    dead letter that is handed in again keeps its id.
    """
    if message_id is not None:
        redriven = _REDRIVEN.match(message_id)
        return redriven[1] if redriven else _digest(f"id:{message_id}")
    name = f"{stream}-{sequence}"
    return name if is_token(name) else _digest(f"sequence:{name}")


def redrive_id(letter: str, number: int) -> str:
    """Return the ``Nats-Msg-Id`` of a dead letter that is handed in again."""
    message_id = f"redrive.{letter}.{number}"
    return message_id if _REDRIVEN.match(message_id) else f"redrive.letter.{number}"


def _digest(text: str) -> str:
    return f"submit-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}"


# Reading


def pause(deliveries: int, asked: float | None, first: float, most: float, spread: float) -> float:
    """Return the seconds until a refused command is tried again.

    It doubles from ``first`` to ``most``; ``asked`` is what the refusal asks for at least. With
    ``spread`` from 0 to 1 it is up to a quarter longer, so that not all come back at once.
    """
    doubled = min(most, first * 2 ** min(max(deliveries - 1, 0), 32))
    return max(doubled, min(asked or 0.0, LONGEST_ASKED_PAUSE)) * (1 + spread / 4)


def next_try(age: float, most: float, pause: float, least: float) -> float | None:
    """Return the seconds until the next try of a command, None if this was the last one.

    The last one comes ``least`` seconds before its age ends, so that its refusal gives the reason.
    """
    left = most - age - least
    return min(pause, left) if left > 0 else None


def no_command(name: str) -> Problem | None:
    """Return why nothing can carry out a submission of this name, None if something can."""
    if catalog.is_command(name):
        return None
    if catalog.find(name) is not None:
        reason = f"{name} is a question: it must be requested, since nobody gets this answer"
        return Problem(code="validation", message=reason)
    return Problem(code="not_found", message="the contract has no such command")


def too_old(days: float, last: Problem | None) -> Problem:
    """Return the refusal of a command that could not be carried out in time."""
    after = f": {last.code}: {last.message}" if last else ""
    return Problem(code="timeout", message=f"not carried out within {days:g} days{after}")


# The first commands of a tenant


class InboxStanding(Enum):
    """What is known of an inbox at a moment after a command was heard.

    ``MISSING``: it did not stand, so it holds no copy of the command. ``YOUNG``: it stands since a
    moment ago, and may hold one or not. ``SETTLED``: it stood when the command was sent.
    """

    MISSING = "missing"
    YOUNG = "young"
    SETTLED = "settled"


def standing(heard_at: float, settles_at: float | None) -> InboxStanding:
    """Return how an inbox stood for a command that was heard before the inbox was asked for.

    ``settles_at`` is what was found: when it was made and a while more, None if it did not stand.
    What is heard after that while was sent after the making.
    """
    if settles_at is None:
        return InboxStanding.MISSING
    return InboxStanding.SETTLED if heard_at >= settles_at else InboxStanding.YOUNG


Treatment = Literal["leave", "store", "repeat"]


def treatment(standing: InboxStanding, headers: Mapping[str, str] | None) -> Treatment:
    """Decide what is done with a command that was heard.

    ``leave``: the inbox has it. ``store``: put it there under its message id; where the inbox may
    hold it already, that id makes the server drop the second copy. ``repeat``: tell the sender to
    send it again, because storing it could double it, or because its headers ask JetStream for
    something that only JetStream can judge.
    """
    if standing is InboxStanding.SETTLED:
        return "leave"
    given = headers or {}
    if any(name.lower().startswith(_CONTROL) and name not in _HARMLESS for name in given):
        return "repeat"
    return "store" if standing is InboxStanding.MISSING or given.get(MESSAGE_ID) else "repeat"


def refusal(problem: Problem, stream: str, reason: tuple[int, int]) -> bytes:
    """Return the answer to a sender: a ``Problem``, and an error as JetStream's clients read it."""
    status, code = reason
    error = {"code": status, "err_code": code, "description": problem.message}
    answer = msgspec.to_builtins(problem) | {"error": error, "stream": stream, "seq": 0}
    return msgspec.json.encode(answer)


def try_again(why: str) -> Problem:
    """Return the refusal of a command of which it is not known to be stored."""
    advice = "send it again, with the same Nats-Msg-Id if it has one"
    return Problem(code="unavailable", message=f"{why}: {advice}", retryable=True, retry_after=0.1)

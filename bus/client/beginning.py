"""The job ``begin``: a public request made for an entity, which is told of the end of what begins.

An actor declares ``BEGIN`` among its jobs. Any process may do it, since the request is answered by
whoever answers it to users. The id in the request makes repeats attach to what stands.
"""

from typing import Any, Protocol

import msgspec

from bus.client.requests import insisting, requested
from bus.codec import decode, encode
from bus.errors import NobodyListensError, ProblemError, TransientError
from bus.ports import Bus
from bus.subjects import fill, token
from bus.work.worker import Job
from schemas.base import ASK
from schemas.beginnings import BEGIN_QUEUE, REPLY_TO_HEADER, Beginner, BeginWork, HasBegun
from schemas.identity import HEADER
from schemas.problems import Problem, ProblemCode
from schemas.work import WorkFailure, WorkItem

PATIENCE_SECONDS = 30.0
"""For so long a request is made again while nobody answers; then its entity decides."""

_UNSURE: frozenset[ProblemCode] = frozenset(("unavailable", "timeout", "internal"))
"""Refusals after which it may have begun: an owner was asked, and its answer was not heard."""


class OnTheBus(Protocol):
    """What a process has in which the job is done."""

    @property
    def bus(self) -> Bus:
        """Its bus."""
        ...


class _Begun(msgspec.Struct):
    """What is read of any answer."""

    stream: Any = ""


async def begin(
    doer: OnTheBus, item: WorkItem[BeginWork], *, patience: float = PATIENCE_SECONDS
) -> HasBegun | WorkFailure:
    """Make the request of an item, and report that it stands, or why it does not."""
    may_stand = False

    async def once(seconds: float) -> bytes:
        nonlocal may_stand
        try:
            return await _requested(doer.bus, item, seconds)
        except NobodyListensError:
            raise
        except TransientError:
            may_stand = True
            raise
        except ProblemError as refused:
            may_stand = may_stand or refused.problem.code in _UNSURE
            raise

    try:
        answer = await insisting(once, patience=patience)
    except ProblemError as refused:
        return _failed(item, refused.problem, sent=may_stand)
    except TransientError as error:
        problem = Problem(code="unavailable", message=str(error), retryable=True)
        return _failed(item, problem, sent=may_stand)
    stream = decode(_Begun, answer).stream
    return HasBegun(
        work=item.work,
        attempt=item.attempt,
        stream=stream if isinstance(stream, str) else "",
    )


BEGIN = Job(queue=BEGIN_QUEUE, body_type=BeginWork, handle=begin)


async def _requested(bus: Bus, item: WorkItem[BeginWork], seconds: float) -> bytes:
    body, tenant = item.body, item.reply_to.tenant
    beginner = Beginner(reply_to=item.reply_to, depth=body.depth, scope=body.scope)
    headers = {HEADER: encode(body.by).decode(), REPLY_TO_HEADER: encode(beginner).decode()}
    if item.trace is not None:
        headers["traceparent"] = item.trace
    return await requested(
        bus.transport, _subject(body.name, tenant), _named(body), timeout=seconds, headers=headers
    )


def _subject(name: str, tenant: str) -> str:
    """Return where a member of the fleet makes the request of this name."""
    for part in name.split("."):
        token(part, "name")
    return fill(ASK, tenant=tenant) + name


def _named(body: BeginWork) -> bytes:
    """Return the request with its id, each of its fields as it was written."""
    fields = decode(dict[str, msgspec.Raw], body.request)
    return encode({**fields, "id": body.id})


def _failed(item: WorkItem[BeginWork], problem: Problem, *, sent: bool) -> WorkFailure:
    return WorkFailure(work=item.work, attempt=item.attempt, problem=problem, sent=sent)

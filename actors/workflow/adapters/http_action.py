"""One work item: an HTTP request of a workflow, from its values to what is reported of it.

Nothing of a request or an answer is logged, and no problem holds bytes of either.
"""

import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode, urljoin

import anyio

from actors.workflow.core.http_answers import (
    MOST_REDIRECTS,
    is_redirect,
    outcome_of,
    refusal_of,
)
from bus.actor import Here
from bus.codec import accepting
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.http import (
    HttpAnswer,
    HttpClient,
    HttpError,
    HttpExchange,
    HttpLimits,
    HttpNotSentError,
    HttpProxies,
)
from bus.http.urls import http_target
from bus.ports import Bus
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from bus.work.worker import Job
from schemas.callbacks import MOST_TOLD_BYTES, EndOutcome
from schemas.http_actions import HTTP_QUEUE, HttpDone, HttpWork, is_once
from schemas.problems import Problem
from schemas.work import Stopped, WorkFailure, WorkItem

LIMITS = HttpLimits(connections=64, read_seconds=None, body_bytes=2 * MOST_TOLD_BYTES)
"""A request is bounded by its deadline, and its answer here."""

PLACES = 256
"""Requests that one process makes at a time: each waits for its server."""

_KEPT_ELSEWHERE = frozenset({"accept", "accept-language", "user-agent"})
"""What a definition says in headers is for the server that it names, as is the secret."""

_LATE = Problem(code="timeout", message="The time of the request is over.", retryable=True)
_BROKEN = Problem(
    code="provider_error", message="The server's answer did not come whole.", retryable=True
)
_NOT_SENT = Problem(
    code="unavailable", message="There is no connection to the server.", retryable=True
)
_AROUND = Problem(code="provider_error", message="The server redirects again and again.")
_UNKNOWN = Problem(
    code="outcome_unknown",
    message="The request was sent, and no answer came: it may have had its effect, or not.",
)


class _FailedError(Exception):
    def __init__(self, problem: Problem, *, sent: bool) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.sent = sent


class _Leg(NamedTuple):
    """One request of perhaps several: where it goes, and what is said in its headers."""

    url: str
    headers: dict[str, str]


class _Legs:
    """The requests that were made of an item."""

    def __init__(self) -> None:
        self.exchanges: list[HttpExchange] = []

    @property
    def are_sent(self) -> bool:
        """Whether bytes of any may have left."""
        return any(exchange.is_sent for exchange in self.exchanges)


class HttpCaller:
    """Does the work items of the queue ``http``."""

    def __init__(self, client: HttpClient, secrets: Secrets, bus: Bus) -> None:
        self.bus = bus
        self._client = client
        self._secrets = secrets
        self._slices = Slices()
        self._cut: dict[str, bool] = {}

    async def do_request(self, item: WorkItem[HttpWork]) -> HttpDone | WorkFailure:
        """Make a request, and report what became of it."""
        legs = _Legs()
        try:
            outcome = await self._in_time(item, legs)
        except anyio.get_cancelled_exc_class():
            self._cut[item.id] = legs.are_sent
            raise
        except _FailedError as error:
            return _failure(item, error.problem, sent=error.sent)
        except HttpNotSentError:
            return _failure(item, _NOT_SENT, sent=False)
        except HttpError:
            return _failure(item, _BROKEN, sent=True)
        except ProblemError as error:
            return _failure(item, error.problem, sent=legs.are_sent)
        return HttpDone(work=item.work, attempt=item.attempt, outcome=outcome)

    def stopped(self, item: WorkItem[HttpWork]) -> Stopped:
        """Report a request that was called off: it may have been sent."""
        sent = self._cut.pop(item.id, False)
        return Stopped(work=item.work, attempt=item.attempt, sent=sent)

    async def _in_time(self, item: WorkItem[HttpWork], legs: _Legs) -> EndOutcome:
        seconds = (item.body.deadline - self.bus.clock()).total_seconds()
        with anyio.move_on_after(max(seconds, 0)):
            return await self._outcome(item, legs)
        raise _FailedError(_LATE, sent=legs.are_sent)

    async def _outcome(self, item: WorkItem[HttpWork], legs: _Legs) -> EndOutcome:
        work, leg = item.body, self._first(item)
        once = is_once(work.method)
        for _ in range(MOST_REDIRECTS + 1):
            exchange = self._client.exchange(
                work.method, leg.url, leg.headers, work.content, may_repeat=not once, fresh=once
            )
            legs.exchanges.append(exchange)
            async with exchange as answer:
                target = answer.headers.get("location")
                if not (target and is_redirect(answer.status, work.method, work.expect)):
                    return await self._read(item, answer)
            leg = _elsewhere(leg, target)
        raise _FailedError(_AROUND, sent=True)

    def _first(self, item: WorkItem[HttpWork]) -> _Leg:
        work, reply_to = item.body, item.reply_to
        given = {name.lower() for name in work.headers}
        key = f"{reply_to.entity}.{reply_to.tenant}.{reply_to.key}.{item.work}"
        usual = {"accept": "application/json, */*;q=0.5", "idempotency-key": key}
        if work.content:
            usual["content-type"] = "application/json"
        if item.trace:
            usual["traceparent"] = item.trace
        headers = {name: text for name, text in usual.items() if name not in given}
        headers |= work.headers
        if work.secret is not None:
            place = work.url.partition("#")[0].partition("?")[0]
            secret = self._secrets.resolve(work.secret, place, item.tenant)
            headers = {n: text for n, text in headers.items() if n.lower() != "authorization"}
            headers["authorization"] = f"Bearer {secret}"
        return _Leg(_with_query(work.url, work.query), headers)

    async def _read(self, item: WorkItem[HttpWork], answer: HttpAnswer) -> EndOutcome:
        refusal = refusal_of(answer.status, item.body.expect, answer.headers.get("retry-after"))
        if refusal is not None:
            raise _FailedError(refusal.problem, sent=refusal.sent)
        data, truncated = await _beginning(answer)
        body = await self._parsed(answer, data, item.tenant) if not truncated else None
        shown = data.decode(errors="replace") if body is None else body[0]
        return outcome_of(answer.status, shown, truncated=truncated)

    async def _parsed(self, answer: HttpAnswer, data: bytes, tenant: str) -> tuple[Any] | None:
        """Return the JSON of a body that says to be some; None where it is a text."""
        kind = answer.headers.get("content-type").partition(";")[0].strip().lower()
        if not data or not kind.endswith(("/json", "+json")):
            return None
        try:
            return (await self._slices.run(accepting(object, data), tenant),)
        except ProblemError:
            return None


HTTP_REQUEST = Job(
    queue=HTTP_QUEUE,
    body_type=HttpWork,
    handle=HttpCaller.do_request,
    stopped=HttpCaller.stopped,
    places=lambda _: PLACES,
    # A server that hangs takes half of the places at most, and so on: others find some free.
    is_long=True,
)


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[HttpCaller]:
    """Open what makes requests, under the operator's policy, while the context is open."""
    config = here.config
    egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
    secrets = Secrets.load({}, config.secrets_file, os.environ)
    async with HttpClient(egress, LIMITS, proxies=HttpProxies.of(os.environ)) as client:
        yield HttpCaller(client, secrets, here.bus)


async def _beginning(answer: HttpAnswer) -> tuple[bytes, bool]:
    """Return the first bytes of a body, and whether there are more."""
    found = bytearray()
    while piece := await answer.piece():
        found += piece
        if len(found) > MOST_TOLD_BYTES:
            return bytes(found[:MOST_TOLD_BYTES]), True
    return bytes(found), False


def _with_query(url: str, query: list[tuple[str, str]]) -> str:
    url = url.partition("#")[0]
    if not query:
        return url
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"


def _elsewhere(leg: _Leg, target: str) -> _Leg:
    """Return the request of a redirect: another server gets neither secret nor headers."""
    url = urljoin(leg.url, target)
    if http_target(url).origin == http_target(leg.url).origin:
        return _Leg(url, leg.headers)
    return _Leg(url, {n: text for n, text in leg.headers.items() if n.lower() in _KEPT_ELSEWHERE})


def _failure(item: WorkItem[HttpWork], problem: Problem, *, sent: bool) -> WorkFailure:
    """Report a failure; where an effect is possible that may come once, nobody knows of it."""
    if sent and item.once and problem in (_LATE, _BROKEN):
        problem = _UNKNOWN
    return WorkFailure(work=item.work, attempt=item.attempt, problem=problem, sent=sent)

"""Services: public commands and questions, answered after the commit, listed by ``$SRV``."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import anyio
import structlog
from anyio.lowlevel import checkpoint
from nats import micro
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request as MicroRequest

from bus.codec import accept, encode
from bus.connection.client import NatsClient
from bus.crew import Crew
from bus.errors import ProblemError, TransientError
from bus.ids import new_id
from bus.ports import Bus, Delivery, Transport
from bus.subjects import filter_for, is_token, parse, submit_subject, token
from bus.telemetry import metrics
from bus.telemetry.traces import handling
from schemas.base import Message, Request
from schemas.ids import PLATFORM
from schemas.problems import HTTP_STATUS, Problem

log = structlog.get_logger()

VERSION = "0.1.0"

Role = Literal["operator", "admin"]

ANSWERABLE = ("_INBOX.", "_R_.")
"""Where answers may go: anything else could be a subject that the asker may not publish on."""

SUBMISSION = "Callboard-Submission"
"""The header of a request that is a submitted command, on its way from the inbox: its id."""

MAX_IN_FLIGHT = 4096
"""Requests answered at once by one process; above it they are refused as ``unavailable``."""

MAX_WAITING = 65_536
"""Commands that nobody waits for and that are not stored yet; above it they are lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the tenant of the subject, and for submitted commands the id of the submission.

    Until users have identities the subject tells the role: the server lets nobody but users of the
    fleet ask in the name of the platform, and a tenant's user is its admin. An admin sets budgets
    and limits of the tenant; those of the operator are no part of them.
    """

    tenant: str
    submission: str | None = None
    trace: str | None = None
    reply: str = ""

    @property
    def role(self) -> Role:
        """What the caller may decide on: all tenants, or one."""
        return "operator" if self.tenant == PLATFORM else "admin"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A public request and the function that answers it.

    Where that returns None the answer comes later, from whoever was given the caller's ``reply``.
    With ``platform`` it may be asked in the name of the platform too: by operators, since no tenant
    may publish on its subjects.
    """

    request: type[Request]
    handler: Callable[[Caller, Any], Awaitable[Message | None]]
    platform: bool = False

    @property
    def name(self) -> str:
        """The endpoint's name in listings: the actor and the verb."""
        return "-".join(self.request.SUBJECT.split(".")[2:])

    async def answer(self, caller: Caller, data: bytes) -> Message | None:
        """Decode a request and answer it; whatever goes wrong becomes a Problem."""
        try:
            if not (self.platform and caller.tenant == PLATFORM):
                token(caller.tenant, "tenant")
            return await self.handler(caller, accept(self.request, data))
        except ProblemError as refused:
            return refused.problem
        except TransientError as error:
            return _unavailable(str(error))
        except Exception as error:  # one request must not end the others
            log.exception("service.handler_raised", endpoint=self.name, error=type(error).__name__)
            return Problem(code="internal", message=f"{self.name} failed")


class Question(NamedTuple):
    """A request and the endpoint it is for."""

    endpoint: Endpoint
    delivery: Delivery


class Service:
    """Answers the requests of its endpoints; several processes share them by queue group."""

    def __init__(self, name: str, endpoints: Sequence[Endpoint], bus: Bus) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self._transport = bus.transport
        self._outbox = bus.outbox
        self._serving = False
        self._draining = anyio.Event()
        self._stopped = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()
        self.in_flight = 0

    async def run(self, client: NatsClient) -> None:
        """Serve until drained, discoverable under ``$SRV``."""
        async with anyio.create_task_group() as tasks:
            crew = Crew(tasks, self._take, most=MAX_IN_FLIGHT)
            service = await micro.add_service(  # pyright: ignore[reportUnknownMemberType]
                client, name=self.name, version=VERSION, description=f"Callboard {self.name}"
            )
            for endpoint in self.endpoints:
                await self._add(service, endpoint, crew, client)
            self._serving = True
            await self._draining.wait()
            try:
                await _heard_out(client, service)
                await service.stop()
                await self._idle.wait()
            finally:
                crew.dismiss()
                self._stopped.set()

    async def drain(self) -> None:
        """Take no more requests and answer those in flight."""
        self._draining.set()
        if self._serving:
            await self._stopped.wait()

    def missing(self) -> str | None:
        """Say what is lacking until requests are answered."""
        return None if self._serving else f"service {self.name} is not subscribed"

    async def _add(
        self, service: Any, endpoint: Endpoint, crew: Crew[Question], client: NatsClient
    ) -> None:
        """Add an endpoint to what ``$SRV`` lists, and take its messages as they are read.

        The library calls a handler for one message after another, in a task of its own.
        """

        async def handle(request: MicroRequest) -> None:
            message: Msg = request._msg  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            receive(Delivery(message.subject, message.data, message.reply, message.headers))

        def receive(delivery: Delivery) -> None:
            self.receive(Question(endpoint, delivery), crew)

        def receive_and_count(delivery: Delivery) -> None:
            added._num_requests += 1  # noqa: SLF001
            receive(delivery)

        subject = endpoint_filter(endpoint)
        await service.add_endpoint(name=endpoint.name, subject=subject, handler=handle)
        added: Any = service._endpoints[-1]  # noqa: SLF001
        client.redirect(added._subscription, receive_and_count)  # noqa: SLF001

    def receive(self, question: Question, crew: Crew[Question]) -> None:
        """Begin to answer one request, within the bound of those in flight."""
        endpoint, (_, _, back, _) = question
        if back and not back.startswith(ANSWERABLE):
            log.warning("service.strange_reply_subject", endpoint=endpoint.name)
        elif self.in_flight < (MAX_IN_FLIGHT if back else MAX_WAITING):
            self._begin()
            crew.give(question)
        elif back:
            problem = _unavailable("too many requests are in flight")
            self._transport.tell(back, encode(problem))
        else:
            log.error("service.command_lost", endpoint=endpoint.name)

    async def _take(self, question: Question) -> None:
        try:
            if question.delivery.reply:
                await self._answer(*question)
            else:
                await self._forward(question.delivery)
        finally:
            self._end()

    async def _answer(self, endpoint: Endpoint, delivery: Delivery) -> None:
        began = time.perf_counter()
        answer = await self._handled(endpoint, delivery)
        if answer is not None:
            await self._reply(delivery.reply, answer)
        code = answer.code if isinstance(answer, Problem) else "ok"
        metrics.REQUESTS.at(endpoint.name, code).inc()
        metrics.REQUEST_SECONDS.at(endpoint.name).observe(time.perf_counter() - began)

    async def _handled(self, endpoint: Endpoint, delivery: Delivery) -> Message | None:
        """Answer within the caller's trace, and let the work that follows continue it."""
        template = endpoint.request.SUBJECT
        caller = caller_of(template, delivery)
        with handling(endpoint.name, template, parent=caller.trace, tenant=caller.tenant) as span:
            caller = replace(caller, trace=span.traceparent)
            answer = await endpoint.answer(caller, delivery.data)
            if isinstance(answer, Problem):
                span.fail(answer.code)
            return answer

    def _begin(self) -> None:
        self.in_flight += 1
        if self.in_flight == 1:
            self._idle = anyio.Event()

    def _end(self) -> None:
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def _forward(self, delivery: Delivery) -> None:
        """Make a command that nobody waits for durable, instead of answering into the void."""
        subject = submit_subject(delivery.subject)
        await self._outbox.post(subject, delivery.data, message_id=new_id())

    async def _reply(self, subject: str, message: Message) -> None:
        await reply(self._transport, subject, message)


async def reply(transport: Transport, subject: str, message: Message) -> None:
    """Answer a caller; a Problem is told in the headers as well, as NATS services do."""
    await transport.publish(subject, encode(message), headers=_error_headers(message))


async def _heard_out(client: NatsClient, service: Any) -> None:
    """Take in every request that the server has sent here: the library would drop what waits."""
    for endpoint in service._endpoints:  # noqa: SLF001
        subscription: Subscription | None = endpoint._subscription  # noqa: SLF001
        if subscription is not None:
            await client.stop_interest(subscription)
            while subscription.pending_msgs:
                await checkpoint()


def caller_of(template: str, delivery: Delivery) -> Caller:
    """Return who sent a request, by its subject and headers."""
    tokens = parse(template, delivery.subject) or {}
    headers = delivery.headers or {}
    return Caller(
        tenant=tokens.get("tenant", ""),
        submission=_submission(headers.get(SUBMISSION)),
        trace=headers.get("traceparent"),
        reply=delivery.reply,
    )


def _submission(given: str | None) -> str | None:
    """Return the id that a request's header gives it, as its body could."""
    return given if given is not None and is_token(given) else None


def endpoint_filter(endpoint: Endpoint) -> str:
    """Return the subject an endpoint listens on, for all tenants."""
    return filter_for(endpoint.request.SUBJECT)


def _error_headers(message: Message) -> dict[str, str] | None:
    if not isinstance(message, Problem):
        return None
    return {
        "Nats-Service-Error": message.message.replace("\n", " ").replace("\r", " ")[:500],
        "Nats-Service-Error-Code": str(HTTP_STATUS[message.code]),
    }


def _unavailable(reason: str) -> Problem:
    return Problem(code="unavailable", message=reason, retryable=True, retry_after=1.0)

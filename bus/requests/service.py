"""Services: public commands and questions, answered after the commit, listed by ``$SRV``."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import anyio
import structlog
from anyio.lowlevel import checkpoint
from nats import micro
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.micro.request import Request as MicroRequest

from bus.codec import accept, accepting, encode
from bus.config import Config
from bus.connection.client import NatsClient
from bus.connection.frames import Begun
from bus.errors import CallboardError, ProblemError, TransientError
from bus.fairness import InFlight, Quotas, Turns
from bus.fairness.slices import Slices
from bus.ids import new_id
from bus.jetstream.publishing import STORE_SECONDS, accepted
from bus.ports import MESSAGE_ID, Bus, Delivery, Transport
from bus.requests.caller import Caller, caller_of
from bus.requests.rpc import POSITION
from bus.subjects import filter_for, is_ask, tenant_of, token
from bus.tasks import TaskPool, Wakeup, loop_time
from bus.telemetry import metrics
from bus.telemetry.traces import handling
from schemas.base import ASK, PUBLIC, SUBMIT, Command, Message, Request
from schemas.identity import Resource, may
from schemas.ids import PLATFORM
from schemas.problems import HTTP_STATUS, Problem

log = structlog.get_logger()

A = TypeVar("A")
F = TypeVar("F", bound=Callable[..., Awaitable[Message | None]])

VERSION = "0.1.0"

ANSWERABLE = ("_INBOX.", "_R_.")
"""Where answers may go: anything else could be a subject that the asker may not publish on."""

AT_ONCE = 4096
"""Requests that one process works on at once; above it they wait for their tenant's turn."""

AT_ONCE_EACH = 256
"""Those of one tenant: as many as a turn of a shard takes together; others go in between."""

LARGE_BYTES = 1024**2
"""Each step with a request above this holds up the process for several milliseconds."""

SLICED_BYTES = 256 * 1024
"""A request above this is checked in slices, between which the process goes on."""

LARGE_AT_ONCE = 2
"""Large requests that one process works on at once, so that small ones come in between."""

FORWARD_SECONDS, FORWARD_PAUSE_SECONDS = 5.0, 0.2
"""For so long, with such pauses, it is tried to store a command that nobody waits for."""

QUIET_LOOKS, QUIET_LOOK_SECONDS = 2, 0.005
"""So often in a row nothing may be arriving before a large request is begun."""

QUIET_MOST_SECONDS = 1.0
"""However much arrives, one large request is begun in this time."""


ANSWERS = "answers_request"
"""The attribute of a method that names the request it answers."""


def answers(request: type[Request]) -> Callable[[F], F]:
    """Mark the method of a handler that answers a request: a caller and the request are given."""

    def mark(method: F) -> F:
        setattr(method, ANSWERS, request)
        return method

    return mark


def requests_of(handler: type[Any]) -> dict[str, type[Request]]:
    """Return the requests that objects of a class answer, by the names of the methods."""
    methods = {
        name: each for kind in reversed(handler.__mro__) for name, each in vars(kind).items()
    }
    found = {name: getattr(method, ANSWERS, None) for name, method in methods.items()}
    return {name: request for name, request in found.items() if request is not None}


@dataclass(frozen=True, slots=True)
class ServiceEndpoint:
    """A public request and the function that answers it.

    Where that returns None the answer comes later, from whoever was given the caller's ``reply``.
    """

    request: type[Request]
    handler: Callable[[Caller, Any], Awaitable[Message | None]]
    slices: Slices = field(default_factory=Slices, compare=False, repr=False)
    name: str = field(init=False, compare=False)
    """The endpoint's name in listings: the actor and the verb."""

    def __post_init__(self) -> None:
        # Told for each request, and it takes part in several metrics.
        object.__setattr__(self, "name", self.request.SUBJECT.replace(".", "-"))

    def oversize(self, size: int) -> Problem | None:
        """Refuse a request of so many bytes if its kind never has so many."""
        if size <= self.request.MAX_BYTES:
            return None
        most, field = self.request.MAX_BYTES, self.request.BULK
        message = f"the request has {size} bytes, {most} are allowed"
        details = {"used": size, "allowed": most}
        return Problem(code="validation", message=message, field=field, details=details)

    async def _accepted(self, caller: Caller, data: bytes) -> Request:
        if len(data) <= SLICED_BYTES:
            return accept(self.request, data)
        return await self.slices.run(accepting(self.request, data), caller.tenant)

    def forbidden(self, caller: Caller) -> Problem | None:
        """Refuse whoever may not ask this: the one place where that is decided."""
        domain, action = self.request.SUBJECT.partition(".")[0], self.request.ACTION
        if may(caller.principal, action, Resource(caller.tenant, domain)):
            return None
        message = f"{self.request.SUBJECT} of this tenant needs {action}"
        return Problem(code="forbidden", message=message, details={"action": action})

    async def answer(self, caller: Caller, data: bytes) -> Message | None:
        """Decode a request and answer it; whatever goes wrong becomes a Problem."""
        refused = self.oversize(len(data)) or self.forbidden(caller)
        if refused is not None:
            return refused
        return await answered(self.name, self._answer(caller, data))

    async def _answer(self, caller: Caller, data: bytes) -> Message | None:
        if not (self.request.PLATFORM and caller.tenant == PLATFORM):
            token(caller.tenant, "tenant")
        return await self.handler(caller, await self._accepted(caller, data))


async def answered(name: str, answer: Awaitable[A]) -> A | Problem:
    """Return the answer to a request, which ``name`` stands for; what goes wrong is a Problem."""
    try:
        return await answer
    except ProblemError as refused:
        return refused.problem
    except TransientError as error:
        return _unavailable(str(error))
    except Exception as error:  # one request must not end the others
        log.exception("service.handler_raised", endpoint=name, error=type(error).__name__)
        return Problem(code="internal", message=f"{name} failed")


def endpoints_of(handler: object) -> tuple[ServiceEndpoint, ...]:
    """Return the endpoints of an object whose methods are marked by ``answers``."""
    requests = requests_of(type(handler))
    return tuple(
        ServiceEndpoint(request, getattr(handler, name)) for name, request in requests.items()
    )


class Incoming(NamedTuple):
    """A request and the endpoint it is for."""

    endpoint: ServiceEndpoint
    delivery: Delivery

    @property
    def tenant(self) -> str:
        """The tenant of its subject."""
        return tenant_of(self.delivery.subject)


class Service:
    """Answers the requests of its endpoints; several processes share them by queue group.

    What was taken and not answered is bounded, for each tenant by its quotas. The tenants of what
    waits take turns.
    """

    def __init__(
        self,
        name: str,
        endpoints: Sequence[ServiceEndpoint],
        bus: Bus,
        quotas: Quotas | None = None,
    ) -> None:
        self.name = name
        self.endpoints = tuple(endpoints)
        self._transport = bus.transport
        self.load = InFlight(quotas or Quotas(Config().quota))
        self._small = Turns[Incoming](AT_ONCE, per_tenant=AT_ONCE_EACH)
        self._large = Turns[Incoming](LARGE_AT_ONCE)
        self._has_large = Wakeup()
        self._client: NatsClient | None = None
        self._draining = anyio.Event()
        self._stopped = anyio.Event()
        self._idle = anyio.Event()
        self._idle.set()

    @property
    def in_flight(self) -> int:
        """How many requests were taken and are not answered yet."""
        return self.load.requests

    async def run(self, client: NatsClient) -> None:
        """Serve until drained, discoverable under ``$SRV``."""
        async with anyio.create_task_group() as tasks:
            pool = TaskPool(tasks, self._take, most=AT_ONCE + LARGE_AT_ONCE)
            self._pool = pool
            service = await micro.add_service(  # pyright: ignore[reportUnknownMemberType]
                client, name=self.name, version=VERSION, description=f"Callboard {self.name}"
            )
            for endpoint in self.endpoints:
                await self._listen(service, endpoint, client)
            self._client = client
            tasks.start_soon(self._begin_large, client)
            await self._draining.wait()
            try:
                await _heard_out(client, service)
                await service.stop()
                await self._idle.wait()
            finally:
                pool.dismiss()
                tasks.cancel_scope.cancel()
                self._stopped.set()

    async def drain(self) -> None:
        """Take no more requests and answer those in flight."""
        self._draining.set()
        if self._client is not None:
            await self._stopped.wait()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until requests are answered."""
        if self._client is None:
            return f"service {self.name} is not subscribed"
        away = f"the connection of service {self.name} is away"
        return None if self._client.is_connected else away

    async def _listen(self, service: Any, endpoint: ServiceEndpoint, client: NatsClient) -> None:
        public, asked = (filter_for(prefix + endpoint.request.SUBJECT) for prefix in (PUBLIC, ASK))
        await self._add(service, endpoint, client, endpoint.name, public)
        await self._add(service, endpoint, client, f"{endpoint.name}-asked", asked)

    async def _add(
        self, service: Any, endpoint: ServiceEndpoint, client: NatsClient, name: str, subject: str
    ) -> None:
        """Add an endpoint to what ``$SRV`` lists, and take its messages as they are read.

        The library calls a handler for one message after another, in a task of its own.
        """

        async def handle(request: MicroRequest) -> None:
            message: Msg = request._msg  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
            receive(Delivery(message.subject, message.data, message.reply, message.headers))

        def receive(delivery: Delivery) -> None:
            self.receive(Incoming(endpoint, delivery))

        def receive_and_count(delivery: Delivery) -> None:
            added._num_requests += 1  # noqa: SLF001
            receive(delivery)

        await service.add_endpoint(name=name, subject=subject, handler=handle)
        added: Any = service._endpoints[-1]  # noqa: SLF001
        client.redirect(added._subscription, receive_and_count, partial(self.wants, endpoint))  # noqa: SLF001

    def wants(self, endpoint: ServiceEndpoint, message: Begun) -> bool:
        """Say whether a request is to be received that does not come in one piece.

        One that is not wanted is answered at once.
        """
        if not message.reply.startswith(ANSWERABLE):
            return True
        tenant = tenant_of(message.subject)
        refused = endpoint.oversize(message.size) or self.load.refusal(tenant, message.size)
        if refused is not None:
            self._refuse(endpoint, message.reply, refused)
        return refused is None

    def receive(self, incoming: Incoming) -> None:
        """Take a request and begin it when it is its tenant's turn, or refuse it at once."""
        endpoint, (_, data, back, _) = incoming
        if back and not back.startswith(ANSWERABLE):
            log.warning("service.strange_reply_subject", endpoint=endpoint.name)
            return
        size, tenant = len(data), incoming.tenant
        refused = endpoint.oversize(size) if back else _not_durable(incoming)
        refused = refused or self.load.take(tenant, size)
        if refused is None:
            self._begin(incoming, tenant, size)
        else:
            self._refuse(endpoint, back, refused)

    def _refuse(self, endpoint: ServiceEndpoint, back: str, problem: Problem) -> None:
        _count(endpoint, problem)
        if back:
            self._tell(back, encode(problem))
        else:
            log.error("service.command_lost", endpoint=endpoint.name, error=problem.message)

    def _tell(self, back: str, data: bytes) -> None:
        """Send a refusal at once, on the connection on which the request came.

        The other one may be full of the large requests that go to their owners, and takes no more.
        """
        if self._client is None or not self._client.put(back, data):
            self._transport.tell(back, data)

    def _begin(self, incoming: Incoming, tenant: str, size: int) -> None:
        if self.load.requests == 1:
            self._idle = anyio.Event()
        if size > LARGE_BYTES:
            self._large.waiting.add(tenant, incoming)
            self._has_large.set()
        elif self._small.begin(tenant):
            self._pool.give(incoming)
        else:
            self._small.waiting.add(tenant, incoming)

    async def _begin_large(self, client: NatsClient) -> None:
        """Begin large requests one by one, when nothing more is arriving.

        Each holds up the process, and what a flood brings meanwhile would fill the buffer that the
        server has for this connection; then the server cuts it, and other tenants' requests are
        lost. So all that arrives is read first, and refused where it is too much.
        """
        while True:
            await self._has_large.wait()
            while len(self._large.waiting) and self._large.running < LARGE_AT_ONCE:
                await _quiet(client)
                if (following := self._large.start()) is not None:
                    self._pool.give(following[1])

    async def _take(self, incoming: Incoming) -> None:
        try:
            if incoming.delivery.reply:
                await self._answer(*incoming)
            else:
                await self._forward(*incoming)
        finally:
            self._end(incoming)

    def _end(self, incoming: Incoming) -> None:
        tenant, size = incoming.tenant, len(incoming.delivery.data)
        self.load.release(tenant, size)
        if size > LARGE_BYTES:
            self._large.end(tenant)
            self._has_large.set()
        else:
            self._small.end(tenant)
            while (following := self._small.start()) is not None:
                self._pool.give(following[1])
        if not self.load.requests:
            self._idle.set()

    async def _answer(self, endpoint: ServiceEndpoint, delivery: Delivery) -> None:
        began = time.perf_counter()
        caller = caller_of(delivery)
        answer = await self._handled(endpoint, delivery, caller)
        if answer is not None:
            await reply(self._transport, delivery.reply, answer, caller.positions)
        _count(endpoint, answer)
        metrics.REQUEST_SECONDS.at(endpoint.name).observe(time.perf_counter() - began)

    async def _handled(
        self, endpoint: ServiceEndpoint, delivery: Delivery, caller: Caller
    ) -> Message | None:
        """Answer within the caller's trace, and let the work that follows continue it."""
        template = PUBLIC + endpoint.request.SUBJECT
        with handling(endpoint.name, template, parent=caller.trace, tenant=caller.tenant) as span:
            if span.traceparent != caller.trace:
                caller = replace(caller, trace=span.traceparent)
            answer = await endpoint.answer(caller, delivery.data)
            if isinstance(answer, Problem):
                span.fail(answer.code)
            return answer

    async def _forward(self, endpoint: ServiceEndpoint, delivery: Delivery) -> None:
        """Make a command that nobody waits for durable, instead of answering into the void.

        It keeps its tenant's place until it is stored: what an inbox refuses, because it is full,
        say, must not fill an outbox in which the other tenants' messages wait.
        """
        subject = SUBMIT.format(tenant=tenant_of(delivery.subject)) + endpoint.request.SUBJECT
        headers = {MESSAGE_ID: new_id()}
        why, deadline = "", loop_time() + FORWARD_SECONDS
        while (left := deadline - loop_time()) > 0:
            try:
                receipt = await self._transport.request(
                    subject, delivery.data, timeout=min(left, STORE_SECONDS), headers=headers
                )
                accepted(subject, receipt)
            except ProblemError as refused:
                why = refused.said()
                break
            except CallboardError as error:
                why = str(error)
            else:
                return
            await anyio.sleep(FORWARD_PAUSE_SECONDS)
        log.error("service.command_lost", endpoint=endpoint.name, error=why)


async def reply(
    transport: Transport, subject: str, message: Message, positions: Sequence[str] = ()
) -> None:
    """Answer a caller; a Problem is told in the headers as well, as NATS services do.

    ``positions`` are those of the owners' answers that it follows from.

    An answer that is too large for a message becomes a Problem that says so. Where the bus is away
    the answer is lost, and so is its caller.
    """
    try:
        headers = _headers(message, positions)
        await transport.publish(subject, encode(message), headers=headers)
    except ProblemError as refused:
        told = refused.problem
        await transport.publish(subject, encode(told), headers=_headers(told))
    except TransientError as error:
        log.warning("service.answer_lost", error=str(error))


async def _quiet(client: NatsClient) -> None:
    """Wait until nothing is arriving, but not for ever."""
    deadline, looks = loop_time() + QUIET_MOST_SECONDS, 0
    while looks < QUIET_LOOKS and loop_time() < deadline:
        await anyio.sleep(QUIET_LOOK_SECONDS)
        looks = 0 if client.is_receiving else looks + 1


async def _heard_out(client: NatsClient, service: Any) -> None:
    """Take in every request that the server has sent here: the library would drop what waits."""
    for endpoint in service._endpoints:  # noqa: SLF001
        subscription: Subscription | None = endpoint._subscription  # noqa: SLF001
        if subscription is not None:
            await client.stop_interest(subscription)
            while subscription.pending_msgs:
                await checkpoint()


def _count(endpoint: ServiceEndpoint, answer: Message | None) -> None:
    if not isinstance(answer, Problem):
        metrics.REQUESTS.at(endpoint.name, "ok").inc()
        return
    metrics.REQUESTS.at(endpoint.name, answer.code).inc()
    if quota := answer.details.get("quota"):
        metrics.QUOTA_REFUSALS.at(str(quota)).inc()


def _not_durable(incoming: Incoming) -> Problem | None:
    """Refuse what nobody waits for and cannot be stored as a command of its tenant."""
    request, subject = incoming.endpoint.request, incoming.delivery.subject
    if issubclass(request, Command) and not is_ask(subject):
        return None
    return Problem(code="validation", message="nobody would get the answer: no reply subject")


def _headers(message: Message, positions: Sequence[str] = ()) -> dict[str, str] | None:
    told = ", ".join(positions)
    headers = {POSITION: told} if told else {}
    if not isinstance(message, Problem):
        return headers or None
    return headers | {
        "Nats-Service-Error": message.message.replace("\n", " ").replace("\r", " ")[:500],
        "Nats-Service-Error-Code": str(HTTP_STATUS[message.code]),
    }


def _unavailable(reason: str) -> Problem:
    return Problem(code="unavailable", message=reason, retryable=True, retry_after=1.0)

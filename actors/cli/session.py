"""How a command reaches the bus, and how it says what went wrong."""

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import update_wrapper
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import urlsplit

import anyio
import click

from actors.cli import rendering
from actors.cli.config import CliConfig
from actors.cli.requests import Where
from bus.client import Client
from bus.config import load
from bus.connection import NatsAddress, NatsTransport, connect
from bus.errors import CallboardError, ConfigError, ProblemError, UnavailableError, problem
from bus.subjects import token
from bus.telemetry import logs
from schemas.fleet import SHARDS_SUBJECT
from schemas.ids import PLATFORM
from schemas.problems import Problem

T = TypeVar("T")

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_CONFIG = 78
"""``EX_CONFIG`` of sysexits.h."""

EXIT_INTERRUPTED = 130
CONNECT_SECONDS = 2.0

NOT_OF_THE_FLEET = "this looks behind all tenants: it needs a user of the fleet, not of a tenant"

_TOLD = ("status", "provider_code", "provider_type", "provider_status", "provider_reason")
"""Details of a problem that the provider itself has given, where they look like identifiers."""

START_ONE = "Is a fleet running? Start one with `callboard up`."


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Where the bus is and which tenant a command speaks for.

    ``named`` says whether somebody named the bus: an option, or the environment.
    """

    config: CliConfig
    urls: tuple[str, ...]
    tenant: str
    named: bool

    def run(self, body: Callable[[Client], Awaitable[T]]) -> T:
        """Run ``body`` with a client; an error ends the command with a line that names it."""
        return self.run_connected(lambda transport: body(Client(transport)))

    def run_connected(self, body: Callable[[NatsTransport], Awaitable[T]]) -> T:
        """Run ``body`` with a connection; see ``run``."""

        async def connected() -> T:
            async with connect(self.address()) as transport:
                return await body(transport)

        return run(connected)

    def run_as_fleet(self, body: Callable[[NatsTransport], Awaitable[T]]) -> T:
        """Run ``body`` as ``run_connected`` does, if the user is one of the fleet."""

        async def checked(transport: NatsTransport) -> T:
            if not await transport.may_publish(SHARDS_SUBJECT):
                raise problem("forbidden", NOT_OF_THE_FLEET)
            return await body(transport)

        return self.run_connected(checked)

    def address(self, patience: float = CONNECT_SECONDS) -> NatsAddress:
        """Return where to connect. A user's answers arrive where its permissions let them."""
        user = urlsplit(self.urls[0]).username if self.urls else None
        return NatsAddress(
            urls=self.urls,
            name="callboard",
            credentials=self.config.nats_creds,
            inbox_prefix=f"_INBOX.{user}" if user else "_INBOX",
            patience=patience,
        )


def opened(where: Where) -> Session:
    """Read the environment, overridden by options; a wrong setting ends the command."""
    url, tenant = where
    try:
        config = load(CliConfig, os.environ)
        logs.configure("error", "console", stream=sys.stderr)
        return Session(
            config=config,
            urls=tuple(url.split(",")) if url else tuple(map(str, config.nats_url)),
            tenant=tenant if tenant == PLATFORM else token(tenant or config.tenant, "tenant"),
            named=bool(url or os.environ.get("NATS_URL")),
        )
    except CallboardError as error:
        leave(error)


def run(body: Callable[[], Awaitable[T]]) -> T:
    """Run ``body`` in an event loop; an error ends the command with a line that names it."""
    try:
        return anyio.run(body)
    except* CallboardError as group:
        leave(first(group))


def leave(error: BaseException) -> NoReturn:
    """Say on standard error what went wrong and exit with the code that fits."""
    match error:
        case ProblemError():
            rendering.line(rendered(error.problem), err=True)
        case ConfigError():
            rendering.line(f"callboard: {error}", err=True)
            raise click.exceptions.Exit(EXIT_CONFIG)
        case UnavailableError():
            rendering.line(f"callboard: {error}\n{START_ONE}", err=True)
        case CallboardError():
            rendering.line(f"callboard: {error}", err=True)
        case _:
            raise error
    raise click.exceptions.Exit(EXIT_FAILURE)


def rendered(problem: Problem) -> str:
    """Return a problem as one line: ``code: message (field) [status 500, code server_error]``.

    In brackets is what a provider has said, and when it may be asked again.
    """
    field = f" ({problem.field})" if problem.field else ""
    told = {name: problem.details[name] for name in _TOLD if name in problem.details}
    parts = [f"{name.removeprefix('provider_')} {value}" for name, value in told.items()]
    if problem.retry_after is not None:
        parts.append(f"again in {problem.retry_after:.0f} s")
    more = f" [{', '.join(parts)}]" if parts else ""
    return f"{problem.code}: {problem.message}{field}{more}"


def first(error: BaseException) -> BaseException:
    """Return the first failure inside a group, however deep it lies."""
    while isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        error = group.exceptions[0]
    return error


def with_session(command: Callable[..., Any]) -> Callable[..., Any]:
    """Hand a command its ``Session`` first, by the options of the whole command line."""

    @click.pass_obj
    def call(where: Where, /, *arguments: Any, **options: Any) -> Any:
        return command(opened(where), *arguments, **options)

    return update_wrapper(call, command)

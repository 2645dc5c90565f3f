"""Asking what the contract offers."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import anyio
import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError, TransientError, UnavailableError
from bus.ports import Transport
from bus.requests.caller import SUBMISSION
from bus.subjects import ask_subject, request_subject
from schemas.base import Request
from schemas.identity import HEADER, Principal
from schemas.problems import Problem

T = TypeVar("T")

REQUEST_SECONDS = 15.0
"""An actor itself waits up to 10 s for the owner of what is asked for."""

FIRST_TRY_SECONDS = 1.0
"""What may be asked again is: who was to answer may have died. Each try is twice as long."""

RETRY_SECONDS = 0.1


class _Tag(msgspec.Struct):
    type: Any = None


class Client:
    """Speaks for a tenant over a connection, as any NATS client could.

    A member of the fleet names the principal ``by`` whom it is asked, and asks on its behalf. What
    has a ``submission`` is a command that is carried out once under this id.
    """

    def __init__(
        self, transport: Transport, by: Principal | None = None, submission: str | None = None
    ) -> None:
        self.transport = transport
        headers = {HEADER: encode(by).decode()} if by else {}
        self._headers = (headers | {SUBMISSION: submission} if submission else headers) or None
        self._subject = ask_subject if by else request_subject

    async def request(
        self, tenant: str, wanted: Request, *, timeout: float = REQUEST_SECONDS
    ) -> Any:
        """Send a request and return the decoded ``wanted.REPLY``.

        It may take ``timeout`` seconds, and what the request asks to be held back.

        Raises:
            ProblemError: the request is refused.
            UnavailableError: nobody listens, or the connection was lost, or the answer is empty.
            DeadlineError: no answer in ``timeout`` seconds.
        """
        subject, seconds = self._subject(type(wanted), tenant), timeout + wanted.held_back()
        answer = await requested(
            self.transport, subject, encode(wanted), timeout=seconds, headers=self._headers
        )
        return decode(wanted.REPLY, answer)

    async def insist(self, tenant: str, wanted: Request, *, patience: float) -> Any:
        """Ask again for ``patience`` seconds while the bus or an owner is away.

        Only for what may be asked twice: questions, and commands that carry their id. Raises as
        ``request`` does, with the last error.
        """

        async def once(seconds: float) -> Any:
            return await self.request(tenant, wanted, timeout=seconds)

        return await insisting(once, patience=patience)


async def requested(
    transport: Transport,
    subject: str,
    data: bytes,
    *,
    timeout: float,
    headers: Mapping[str, str] | None,
) -> bytes:
    """Send a request that is encoded, and return the encoded answer. Raises as ``Client.request``.

    What it raises of a subject that nobody hears is a ``NobodyListensError``.
    """
    answer = await transport.request(
        subject, data, timeout=timeout, headers=None if headers is None else dict(headers)
    )
    if not answer.data:
        raise UnavailableError(subject, f"an empty answer: {dict(answer.headers or {})}")
    if decode(_Tag, answer.data).type == "problem":
        raise ProblemError(decode(Problem, answer.data))
    return answer.data


async def insisting(once: Callable[[float], Awaitable[T]], *, patience: float) -> T:
    """Ask ``once`` within some seconds, and again while the bus or an owner is away."""
    end, seconds = anyio.current_time() + patience, FIRST_TRY_SECONDS
    while True:
        try:
            return await once(seconds)
        except (TransientError, ProblemError) as error:
            if not passes(error) or anyio.current_time() >= end:
                raise
        await anyio.sleep(RETRY_SECONDS)
        left = max(end - anyio.current_time(), FIRST_TRY_SECONDS)
        seconds = min(2 * seconds, REQUEST_SECONDS, left)


def passes(error: TransientError | ProblemError) -> bool:
    """Say whether the same request may succeed soon."""
    return not isinstance(error, ProblemError) or error.problem.code == "unavailable"

"""Asking a provider for one whole answer: embeddings, judgements, what concerns a batch."""

from collections.abc import Mapping
from typing import Any

import anyio
import httpx

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http import ReadBody
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.sending import Sending, Write, broken
from actors.streaming.core.batches.form import Step
from actors.streaming.core.errors.faults import fault
from schemas.providers import Provider

MAX_ANSWER_BYTES = 1024 * 1024
"""Unless the question says otherwise."""


class HttpPosting:
    """One question; ``headers`` are those of the last answer to it, names in lower case.

    The answer has at most ``most`` bytes.
    """

    def __init__(
        self,
        http: HttpProvider,
        provider: Provider,
        context: CallContext,
        *,
        patience: float,
        most: int = MAX_ANSWER_BYTES,
    ) -> None:
        self._most = most
        self._http = http
        self._provider = provider
        self._context = context
        self._patience = patience
        self._sending = Sending(http.client, http.endpoint, patience)

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the provider's last answer; none before it."""
        return self._sending.headers

    @property
    def foreign(self) -> bool:
        """Whether no secret of the operator goes along."""
        return self._http.endpoint.is_foreign(self._provider, self._context)

    @property
    def free(self) -> bool:
        """Whether nothing has been spent: it was refused, or has never arrived."""
        return self._sending.free

    async def answer(self, path: str, body: Mapping[str, Any]) -> bytes:
        """Ask at a path of the provider, and return the body of the answer in time.

        Raises:
            ProviderFaultError: the provider refused, broke off, fell silent or said too much.
            ProblemError: the request must not be sent there, or not with these credentials.
        """
        addressed, context = self._http.endpoint.addressed, self._context
        return await self.sent(lambda _: addressed(self._provider, path, body, context))

    async def stepped(self, step: Step) -> bytes:
        """Make a request of a batch's life; see ``answer``."""
        stepped, context = self._http.endpoint.stepped, self._context
        return await self.sent(lambda _: stepped(self._provider, step, context))

    async def sent(self, write: Write) -> bytes:
        """Send what is written, and return the body of the answer in time.

        Raises:
            ProviderFaultError: as ``answer``.
            ProblemError: as ``answer``.
        """
        try:
            with anyio.fail_after(self._patience):
                response = await self._sending.accepted(write, self._provider, self._context)
                try:
                    return await _body(response, self._most)
                finally:
                    await response.aclose()
        except TimeoutError:
            message = f"The provider did not answer in {self._patience:g} s."
            raise fault("timeout", message) from None
        except httpx.TransportError as error:
            raise broken(error) from None


async def _body(response: httpx.Response, most: int) -> bytes:
    read: ReadBody = response.extensions["read"]
    chunks: list[bytes] = []
    size = 0
    while chunk := await read():
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise fault("provider_error", "The provider's answer is too large.", retryable=False)
    return b"".join(chunks)

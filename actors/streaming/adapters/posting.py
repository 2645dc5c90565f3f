"""Asking a provider for one whole JSON answer: embeddings, judgements."""

from collections.abc import Mapping
from typing import Any

import anyio
import httpx

from actors.streaming.adapters.endpoint import CallContext, Outgoing
from actors.streaming.adapters.http import ReadBody
from actors.streaming.adapters.http_call import (
    HttpProvider,
    broken,
    refused_for_good,
    request_of,
)
from actors.streaming.core.faults import ProviderFaultError, fault, is_unauthenticated
from schemas.providers import Provider

MAX_ANSWER_BYTES = 64 * 1024 * 1024


async def asked(
    http: HttpProvider,
    provider: Provider,
    path: str,
    body: Mapping[str, Any],
    context: CallContext,
    *,
    patience: float,
) -> bytes:
    """Ask a provider at a path of its own; once more where its token had to be renewed.

    Raises:
        ProviderFaultError: as ``answer_to``.
        ProblemError: the request must not be sent there, or not with these credentials.
    """
    outgoing = await http.endpoint.addressed(provider, path, body, context)
    try:
        return await answer_to(http.client, outgoing, patience=patience)
    except ProviderFaultError as refused:
        if not is_unauthenticated(refused.problem):
            raise
        if not await http.endpoint.renewed(provider, outgoing, context):
            raise
    outgoing = await http.endpoint.addressed(provider, path, body, context)
    return await answer_to(http.client, outgoing, patience=patience)


async def answer_to(client: httpx.AsyncClient, outgoing: Outgoing, *, patience: float) -> bytes:
    """Send a request and return the body of its answer, within ``patience`` seconds.

    Raises:
        ProviderFaultError: the provider refused, broke off, fell silent or said too much.
        ProblemError: the request must not be sent there.
    """
    try:
        with anyio.fail_after(patience):
            response = await client.send(request_of(client, outgoing), stream=True)
            try:
                if not response.is_success:
                    raise await refused_for_good(response)
                return await _body(response)
            finally:
                await response.aclose()
    except TimeoutError:
        raise fault("timeout", f"The provider did not answer in {patience:g} s.") from None
    except httpx.TransportError as error:
        raise broken(error) from None


async def _body(response: httpx.Response) -> bytes:
    read: ReadBody = response.extensions["read"]
    chunks: list[bytes] = []
    size = 0
    while chunk := await read():
        chunks.append(chunk)
        size += len(chunk)
        if size > MAX_ANSWER_BYTES:
            raise fault("provider_error", "The provider's answer is too large.", retryable=False)
    return b"".join(chunks)

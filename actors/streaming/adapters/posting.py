"""Asking a provider for one whole JSON answer: embeddings, judgements."""

import anyio
import httpx

from actors.streaming.adapters.endpoint import Outgoing
from actors.streaming.adapters.http import ReadBody
from actors.streaming.adapters.http_call import broken, refused_for_good, request_of
from actors.streaming.core.faults import fault

MAX_ANSWER_BYTES = 64 * 1024 * 1024


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

"""Access tokens for Google service accounts: signed for, fetched, and kept until near their end.

A secret that names a service account is its key file: a path to it, or its JSON in base64, because
a variable of the environment holds neither spaces nor lines well.
"""

import hashlib
from importlib import import_module
from typing import Any

import anyio
import anyio.to_thread
import httpx
import msgspec

from actors.streaming.core.google.service_account import (
    AccessToken,
    ServiceAccount,
    grant_request,
    granted,
    read_account,
    signing_input,
    unpacked,
)
from bus import files
from bus.errors import ProblemError, problem
from bus.ports import Clock
from bus.security.secrets import FIELD
from schemas.bounded import Bounded

REMEMBERED = 1024
"""Accounts whose tokens are kept; beyond it, what was unused the longest is fetched anew."""

_PATIENCE = 15.0
"""Seconds for a token, from the first byte sent to the last one received."""

_ANSWER_BYTES = 64 * 1024
_REFUSING = frozenset({400, 401, 403, 404})


class _Kept:
    """An account's token, and whoever is fetching it."""

    def __init__(self) -> None:
        self.token: AccessToken | None = None
        self.fetching = anyio.Lock()


class GoogleTokens:
    """The access tokens of a process."""

    def __init__(self, client: httpx.AsyncClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._kept: Bounded[bytes, _Kept] = Bounded(REMEMBERED)

    async def account(self, secret: str) -> ServiceAccount | None:
        """Return the service account that a secret stands for; None if it is a token itself.

        Raises:
            ProblemError: ``unauthorized``, it names a file that is no service account's.
        """
        key_file = unpacked(secret)
        if key_file is None and not secret.startswith("/"):
            return None
        if key_file is None:
            key_file = await _read(secret)
        account = read_account(key_file)
        if account is None:
            raise problem("unauthorized", "The secret is no service account's key.", field=FIELD)
        return account

    async def token(self, account: ServiceAccount) -> str:
        """Return a token that is good for some minutes at least.

        Raises:
            ProblemError: there is none to be had.
        """
        kept = self._keep(account)
        async with kept.fetching:
            if kept.token is None or kept.token.good_until <= self._clock():
                kept.token = await self._fetch(account)
            return kept.token.text

    def forget(self, account: ServiceAccount, token: str) -> None:
        """Fetch another token next time, unless that was done since this one was refused."""
        kept = self._keep(account)
        if kept.token is not None and kept.token.text == token:
            kept.token = None

    def _keep(self, account: ServiceAccount) -> _Kept:
        name = hashlib.sha256(msgspec.json.encode(account)).digest()
        return self._kept.get(name) or self._kept.put(name, _Kept())

    async def _fetch(self, account: ServiceAccount) -> AccessToken:
        now = self._clock()
        signed = signing_input(account, now)
        signature = await anyio.to_thread.run_sync(_sign, account.private_key, signed)
        answer = await self._post(account.token_uri, grant_request(signed, signature))
        token = granted(answer, now)
        if token is None:
            raise problem("unavailable", "The token server sent no token.", retryable=True)
        return token

    async def _post(self, url: str, form: bytes) -> bytes:
        headers = {"content-type": "application/x-www-form-urlencoded"}
        request = self._client.build_request("POST", url, content=form, headers=headers)
        try:
            with anyio.fail_after(_PATIENCE):
                response = await self._client.send(request, stream=True)
                try:
                    return await _answer(response)
                finally:
                    await response.aclose()
        except (httpx.TransportError, TimeoutError):
            reason = "The token server cannot be reached."
            raise problem("unavailable", reason, retryable=True) from None


async def _answer(response: httpx.Response) -> bytes:
    if response.status_code in _REFUSING:
        raise problem("unauthorized", "The service account gets no token.", field=FIELD)
    if not response.is_success:
        raise problem("unavailable", "The token server failed.", retryable=True)
    body = b""
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > _ANSWER_BYTES:
            break
    return body


async def _read(path: str) -> bytes:
    try:
        return await anyio.to_thread.run_sync(files.read, path)
    except ProblemError:
        reason = "The service account's key file cannot be read."
        raise problem("unauthorized", reason, field=FIELD) from None


def _sign(private_key: str, data: bytes) -> bytes:
    """Sign with RS256. Reading the key takes tens of milliseconds: not for the loop's thread."""
    try:
        hashes: Any = import_module("cryptography.hazmat.primitives.hashes")
        padding: Any = import_module("cryptography.hazmat.primitives.asymmetric.padding")
        keys: Any = import_module("cryptography.hazmat.primitives.serialization")
    except ImportError:
        reason = "Service accounts need the extra: pip install 'callboard[vertex]'."
        raise problem("unavailable", reason) from None
    try:
        key = keys.load_pem_private_key(private_key.encode(), password=None)
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    except (ValueError, TypeError, AttributeError):
        raise _no_key() from None


def _no_key() -> ProblemError:
    return problem("unauthorized", "The service account's private key is none.", field=FIELD)

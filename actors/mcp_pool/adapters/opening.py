"""The opening of a connection: which revision is spoken."""

from collections.abc import Mapping
from typing import Any

import msgspec

from actors.mcp_pool.adapters.requests import Requests
from actors.mcp_pool.core import wire
from actors.mcp_pool.core.upstream import Era, Opened, UpstreamError
from actors.mcp_pool.core.wire_revisions import (
    HANDSHAKE,
    STATELESS,
    Revision,
    UnknownRevisionError,
    agreed,
    common,
    opened,
)

_NO_ERA = ("rejected", "protocol_error")
"""Outcomes of a probe that a server of a handshake revision may answer with."""


class Negotiation:
    """Opens in the revision that is declared, or finds out which one it is.

    ``asks_first``: a server whose revision is not known is asked for it before it is greeted.
    Behind a pipe it is greeted first, since older servers take no other first message.
    """

    def __init__(
        self, requests: Requests, era: Era, offers: Mapping[str, Any], *, asks_first: bool
    ) -> None:
        self._requests = requests
        self._era = era
        self._offers = offers
        self._asks_first = asks_first

    async def open(self, deadline: float) -> Opened:
        """Agree on a revision.

        Raises:
            UpstreamError: there is none that both sides speak, or no answer.
        """
        if self._era == "auto" and not self._asks_first:
            return await self._greeted(deadline)
        if self._era != "2025":
            found = await self._discover(deadline)
            if found is not None:
                return found
        return await self._handshake(deadline)

    async def _greeted(self, deadline: float) -> Opened:
        try:
            return await self._handshake(deadline)
        except UpstreamError as error:
            if error.outcome not in _NO_ERA or error.session_lost:
                raise
            found = await self._discover(deadline)
            if found is None:
                raise
            return found

    async def _discover(self, deadline: float) -> Opened | None:
        """Open without a session; None where the server only speaks of sessions."""
        version = STATELESS[0]
        for _ in range(2):
            try:
                raw = await self._probe(version, deadline)
            except UpstreamError as error:
                if error.outcome not in _NO_ERA or error.said.status in (401, 403):
                    raise
                if error.said.code != wire.UNSUPPORTED_VERSION or not error.said.versions:
                    return self._fall_back(error)
                other = common(error.said.versions, STATELESS)
                if other is None or common(error.said.versions, HANDSHAKE) == other:
                    return self._fall_back(error, error.said.versions)
                version = other
                continue
            found = self._requests.read(lambda raw=raw: agreed(raw))
            chosen = common(found.supported, STATELESS)
            if chosen is None:
                return None
            self._settle(chosen)
            return opened(chosen, STATELESS, found)
        raise UpstreamError(
            "protocol_error", "The server refuses the revision it names.", sent=True
        )

    async def _probe(self, version: str, deadline: float) -> msgspec.Raw:
        self._requests.dialect = Revision(version, self._offers)
        return await self._requests.ask("server/discover", {}, deadline, repeats=True)

    def _fall_back(self, error: UpstreamError, versions: tuple[str, ...] = HANDSHAKE) -> None:
        if self._era == "2026" or common(versions, HANDSHAKE) is None:
            raise error

    async def _handshake(self, deadline: float) -> Opened:
        dialect = Revision(HANDSHAKE[0], self._offers)
        self._requests.dialect = dialect
        raw = await self._requests.ask("initialize", dialect.hello(), deadline)
        found = self._requests.read(lambda: agreed(raw))
        try:
            result = opened(found.version, HANDSHAKE, found)
        except UnknownRevisionError as error:
            raise UpstreamError(
                "protocol_error", f"No common revision: {error}", sent=True
            ) from None
        self._settle(found.version)
        told = wire.notification("notifications/initialized", {})
        await self._requests.within(deadline, lambda: self._requests.channel.tell(told))
        return result

    def _settle(self, version: str) -> None:
        dialect = Revision(version, self._offers)
        self._requests.dialect = dialect
        self._requests.in_session = not dialect.stateless
        self._requests.channel.settle(dialect.headers, stateless=dialect.stateless)

"""Who connects to nats-server: the server asks, and an API key is the answer's ground.

The server sends what it knows of a connection as a token of its own, and takes as answer a token of
the issuer that its configuration names: a user with its account and permissions, or why there is
none. A client is told no more than that it may not; the reason is logged with the key's id.
Protocol: NATS ADR-26 (github.com/nats-io/nats-architecture-and-design), "Auth Callout".
"""

from collections.abc import Mapping
from typing import Any, cast

import anyio
import structlog

from actors.identity.adapters.stores import Known
from bus.errors import CallboardError
from bus.ports import Clock, Delivery, Transport
from bus.security.nkeys import Claims, KeyPair, is_public, verified
from bus.security.permissions import CALLOUT, account_name, tenant_permissions
from schemas.api_keys import parsed
from schemas.identity import Principal

log = structlog.get_logger()

QUEUE = "identity"
"""One process of the fleet answers each question."""

REFUSED = "not authorized"


class Callout:
    """Answers the server's questions. ``seconds`` is how long a connection lasts."""

    def __init__(
        self, issuer: KeyPair, known: Known, transport: Transport, clock: Clock, seconds: int
    ) -> None:
        self._issuer = issuer
        self._known = known
        self._transport = transport
        self._clock = clock
        self._seconds = seconds

    async def run(self) -> None:
        """Answer until cancelled."""
        async with self._transport.subscription(CALLOUT, self._asked, queue=QUEUE):
            await anyio.sleep_forever()

    async def _asked(self, delivery: Delivery) -> None:
        answer = self.answer(delivery.data)
        if answer is not None and delivery.reply:
            try:
                await self._transport.publish(delivery.reply, answer)
            except CallboardError:
                log.warning("callout.not_answered")

    def answer(self, question: bytes) -> bytes | None:
        """Return the answer to a question of the server; None where it is no server that asks."""
        claims = verified(question, "server")
        said = _mapping(claims.body.get("nats") if claims is not None else None)
        user = said.get("user_nkey")
        if claims is None or not isinstance(user, str) or not is_public(user, "user"):
            log.warning("callout.not_a_server")
            return None
        found = self._principal(_mapping(said.get("connect_opts")))
        if isinstance(found, Principal):
            told = {"jwt": self._user(found, user)}
        else:
            told = {"error": REFUSED}
        return self._signed(claims, user, told)

    def _principal(self, options: Mapping[str, Any]) -> Principal | None:
        text = options.get("auth_token") or options.get("pass")
        presented = parsed(text) if isinstance(text, str) else None
        if presented is None:
            log.info("callout.refused", reason="no API key")
            return None
        found = self._known.opened_by(presented, self._clock())
        if isinstance(found, str):
            log.info("callout.refused", key=presented.id, reason=found)
            return None
        log.info("callout.let_in", key=presented.id, tenant=found.tenant)
        return found

    def _user(self, principal: Principal, user: str) -> str:
        """Return the user that somebody connects as; his inbox is named after his key."""
        now = int(self._clock().timestamp())
        name = principal.key or ""
        publish, subscribe = tenant_permissions(principal.tenant, name, principal.actions)
        return self._issuer.signed(
            {
                "sub": user,
                "aud": account_name(principal.tenant),
                "name": f"{principal.tenant}-{name}",
                "iat": now,
                "exp": now + self._seconds,
                "nats": {
                    "type": "user",
                    "version": 2,
                    "pub": {"allow": list(publish)},
                    "sub": {"allow": list(subscribe)},
                    **dict.fromkeys(("subs", "data", "payload"), -1),
                },
            }
        )

    def _signed(self, asked: Claims, user: str, told: dict[str, str]) -> bytes:
        server = _mapping(_mapping(asked.body.get("nats")).get("server_id")).get("id")
        claims = {
            "sub": user,
            "aud": server,
            "iat": int(self._clock().timestamp()),
            "nats": {"type": "authorization_response", "version": 2, **told},
        }
        return self._issuer.signed(claims).encode()


def _mapping(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value if isinstance(value, dict) else {})

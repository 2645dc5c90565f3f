"""What is known of one endpoint: its circuit, its keys, the rate limits of each key."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.resilience.keys import KeyPool, Rests, is_worn_out
from actors.streaming.core.resilience.limits import Limiter
from actors.streaming.core.resilience.memory import ResilienceMemory
from actors.streaming.core.resilience.scope import counts_against
from schemas.circuit import Circuit, Pass
from schemas.fleet import EndpointState, KeyState
from schemas.ids import TenantId
from schemas.problems import Problem
from schemas.providers import Provider, Scripted

REMEMBERED_ENDPOINTS = 1024

_OWN_WORDS = ("base_url", "headers", "project", "deployment", "api_version")
"""The fields with which a definition says where a call goes, or how."""


def endpoint_name(provider: Provider) -> str:
    """Name what fails and recovers as one: a model at a server, as in ``openai/gpt-4o@host``.

    The server is left out where it is the provider's usual one.
    """
    kind, host = _server(provider)
    return f"{kind}/{provider.model}@{host}" if host else f"{kind}/{provider.model}"


def _server(provider: Provider) -> tuple[str, str]:
    """Return the kind of provider, and its host where that is not the usual one."""
    remote: Any = provider
    server = getattr(remote, "base_url", None) or getattr(remote, "region", None) or ""
    return str(provider.__struct_config__.tag), server.rpartition("://")[2].partition("/")[0]


class Health:
    """Decides whether and with which key an endpoint is called, and learns how that went.

    Times are seconds on a clock that never goes back.
    """

    def __init__(self, name: str, account: Rests | None = None) -> None:
        self.name = name
        self._circuit = Circuit()
        self._keys = KeyPool(account)
        self._limiters: dict[str | None, Limiter] = {}

    @property
    def limited(self) -> bool:
        """Whether rate limits are known, so that the size of a call matters."""
        return bool(self._limiters)

    def keys(self, names: Sequence[str | None], tokens: int, now: float) -> list[str | None]:
        """Return the keys that may be tried for a call of so many tokens, the best first."""
        return self._keys.order(names, now, lambda name: self.wait(name, tokens, now))

    def refusal(self, names: Sequence[str | None], now: float) -> Problem | None:
        """Return why no call may be made at all, None if one may."""
        if self._circuit.state(now) == "open":
            return self._ill(now)
        return self._keys.refusal(names, now)

    def wait(self, key: str | None, tokens: int, now: float) -> float:
        """Return the seconds until the key's rate limit has room for a call."""
        limiter = self._limiters.get(key)
        return limiter.wait(tokens, now) if limiter else 0.0

    def admit(self, key: str | None, tokens: int, now: float) -> "HealthLine | Problem":
        """Let a call begin, on a line that must be ``ended``."""
        call = self._circuit.admit(now)
        if call is None:
            return self._ill(now)
        self._keys.take(key)
        if key in self._limiters:
            self._limiters[key].take(tokens, now)
        return HealthLine(key, call, self)

    def answered(self, call: Pass) -> None:
        """The endpoint has begun to answer a call."""
        self._circuit.answered(call)

    def ended(
        self, line: "HealthLine", problem: Problem | None, headers: Mapping[str, str], now: float
    ) -> None:
        """A call has ended, in a problem or well."""
        self._keys.give_back(line.key)
        self._observe(line.key, headers, now)
        if problem is None:
            self._circuit.succeeded(line.call, now)
            self._keys.answered(line.key)
        elif counts_against(problem):
            self._circuit.failed(line.call, now)
        else:
            self._circuit.release(line.call)
        if problem is not None and is_worn_out(line.key, problem):
            self._keys.rest(line.key, problem, now)

    def left(self, line: "HealthLine") -> None:
        """A call was called off before its end, which says nothing of the endpoint."""
        self._keys.give_back(line.key)
        self._circuit.release(line.call)

    def state(self, now: float) -> EndpointState:
        """Show the endpoint as it stands, with the keys that were used lately."""
        keys = [
            KeyState(
                name=name or "",
                in_use=self._keys.in_use(name),
                resting_seconds=round(self._keys.resting(name, now), 3),
                remaining=self._limiters[name].remaining(now) if name in self._limiters else {},
            )
            for name in self._keys.names()
        ]
        return EndpointState(
            endpoint=self.name,
            circuit=self._circuit.state(now),
            failures=self._circuit.failures(now),
            opens_in_seconds=round(self._circuit.wait(now), 3),
            keys=keys,
        )

    def _observe(self, key: str | None, headers: Mapping[str, str], now: float) -> None:
        if any("ratelimit-" in name for name in headers):
            self._limiters.setdefault(key, Limiter()).observe(headers, now)

    def _ill(self, now: float) -> Problem:
        return Problem(
            code="unavailable",
            message="The provider keeps failing and is left alone for a while.",
            retryable=True,
            retry_after=self._circuit.wait(now),
            details={"circuit": self._circuit.state(now)},
        )


class HealthLine(NamedTuple):
    """One call that is let through: with which key, and the circuit's pass."""

    key: str | None
    call: Pass
    health: Health

    def answered(self) -> None:
        """The endpoint has begun to answer."""
        self.health.answered(self.call)

    def ended(self, problem: Problem | None, headers: Mapping[str, str], now: float) -> None:
        """Give the line back after its call, which has ended in a problem or well."""
        self.health.ended(self, problem, headers, now)

    def left(self) -> None:
        """Give the line back of a call that was called off."""
        self.health.left(self)


class Endpoints:
    """The endpoints a process has called, the least recently called forgotten first.

    Tenants share what is known of the operator's own endpoints, called with the operator's keys,
    so that one learns from what another has met. Where a definition says itself where a call goes,
    or sends headers of its own, which may be why it is refused, each tenant learns for itself.
    """

    def __init__(self) -> None:
        self._shared: ResilienceMemory[Health] = ResilienceMemory(each=REMEMBERED_ENDPOINTS)
        self._own: ResilienceMemory[Health] = ResilienceMemory()
        self._accounts: ResilienceMemory[Rests] = ResilienceMemory()

    def of(self, provider: Provider, tenant: TenantId, now: float) -> Health:
        """Return what is known of a provider's endpoint; of a script nothing ever is."""
        name = endpoint_name(provider)
        if isinstance(provider, Scripted):
            return Health(name)
        if is_operators(provider):
            memory, tenant, place = self._shared, "", name
        else:
            memory, place = self._own, msgspec.json.encode(provider).decode()
        health = memory.find(tenant, place, now)
        health = health or Health(name, self._account(provider, tenant, now))
        memory.note(tenant, place, health, now)
        return health

    def _account(self, provider: Provider, tenant: str, now: float) -> Rests:
        """Return the rests of keys that all models of a server share."""
        server = (*_server(provider), frozenset(getattr(provider, "headers", {}).items()))
        account = self._accounts.find(tenant, server, now) or Rests()
        self._accounts.note(tenant, server, account, now)
        return account

    def states(self, now: float) -> list[EndpointState]:
        """Show all endpoints, the most recently called of each kind last."""
        known = (*self._own.values(now), *self._shared.values(now))
        return [health.state(now) for health in known]


def is_operators(provider: Provider) -> bool:
    """Say whether a call goes where the operator says, and just as he says."""
    remote: Any = provider
    return not any(getattr(remote, name, None) for name in _OWN_WORDS)

"""API keys: made, rotated, revoked and listed. The secret is in the answer, and nowhere else."""

from collections.abc import Callable

from actors.identity.adapters.members import Members
from actors.identity.adapters.tenants import Tenants
from actors.identity.core import keys, members
from bus.errors import ProblemError
from bus.kv import Kind, VersionedStore
from bus.ports import Clock
from bus.requests.caller import Caller
from bus.requests.service import answers
from schemas.api_keys import ID_BYTES, SECRET_BYTES, KeyKind, PresentedKey, key_id, made, written
from schemas.problems import Problem
from schemas.tenancy import (
    ApiKey,
    CreateKey,
    KeyDetails,
    KeyList,
    ListKeys,
    Member,
    NewKey,
    RevokeKey,
    RotateKey,
)


def _whole(key: ApiKey) -> ApiKey:
    return key


KIND = Kind("key", _whole)

KeyStore = VersionedStore[ApiKey, ApiKey]

Chance = Callable[[int], bytes]
"""Returns so many random bytes."""


class Keys:
    """The keys of all tenants."""

    def __init__(
        self, store: KeyStore, tenants: Tenants, listed: Members, clock: Clock, chance: Chance
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._members = listed
        self._clock = clock
        self._chance = chance

    @answers(CreateKey)
    async def do_create(self, caller: Caller, wanted: CreateKey) -> NewKey:
        """Make a key."""
        now, maker = self._clock(), caller.principal
        owner = await self._owner(caller, wanted)
        tenant = await self._tenants.of(caller.tenant)
        _demand(keys.refusal(maker, wanted, owner, tenant, now))
        drawn = self._drawn(wanted.kind, key_id(self._chance(ID_BYTES)))
        stored = await self._store.create(
            caller.tenant, drawn.id, lambda _: keys.make(maker, wanted, owner, drawn, now)
        )
        return NewKey(key=keys.shown(stored), secret=written(drawn))

    @answers(RotateKey)
    async def do_rotate(self, caller: Caller, wanted: RotateKey) -> NewKey:
        """Give a key a new secret."""
        now = self._clock()
        standing = await self._seen(caller, wanted.id)
        drawn = self._drawn(standing.kind, standing.id)
        stored = await self._store.change(
            caller.tenant,
            wanted.id,
            lambda key: keys.rotate(key, drawn, wanted.grace_seconds, now),
        )
        former = [each.until for each in stored.secrets if each.until is not None]
        until = max(former, default=None)
        return NewKey(key=keys.shown(stored), secret=written(drawn), former_until=until)

    @answers(RevokeKey)
    async def do_revoke(self, caller: Caller, wanted: RevokeKey) -> KeyDetails:
        """Let a key open nothing any more."""
        now = self._clock()
        await self._seen(caller, wanted.id)
        revoked = await self._store.change(
            caller.tenant, wanted.id, lambda key: keys.revoke(key, now)
        )
        return keys.shown(revoked)

    @answers(ListKeys)
    async def do_list(self, caller: Caller, wanted: ListKeys) -> KeyList:
        """List keys that the caller may see."""
        return keys.page(await self._store.rows(caller.tenant), wanted, caller.principal)

    async def _owner(self, caller: Caller, wanted: CreateKey) -> Member | None:
        name = keys.owner_of(caller.principal, wanted)
        if isinstance(name, Problem):
            raise ProblemError(name)
        if name is None:
            return None
        owner = members.find(await self._members.of(caller.tenant), name)
        if owner is None:
            raise ProblemError(members.missing(name, "owner"))
        return owner

    async def _seen(self, caller: Caller, name: str) -> ApiKey:
        """Return a key that the caller may change; one of others is none that he can know of."""
        key = await self._store.get(caller.tenant, name)
        if not keys.may_see(caller.principal, key):
            raise ProblemError(KIND.missing(name))
        return key

    def _drawn(self, kind: KeyKind, name: str) -> PresentedKey:
        return made(kind, name, self._chance(SECRET_BYTES))


def _demand(refused: Problem | None) -> None:
    if refused is not None:
        raise ProblemError(refused)

"""The identity actor: its declaration, and what its handlers share."""

import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from actors.identity.adapters import keys, members, tenants
from actors.identity.adapters.callout import Callout
from actors.identity.adapters.keys import Keys
from actors.identity.adapters.members import Members
from actors.identity.adapters.stores import (
    KEYS,
    KNOWN_KEYS,
    KNOWN_MEMBERS,
    KNOWN_TENANTS,
    MEMBERS,
    TENANTS,
    Known,
)
from actors.identity.adapters.tenants import Tenants
from actors.identity.config import IdentityConfig
from bus.actor import Actor, Here, Own
from bus.kv.versioned import opened as opened_store
from bus.runtime.supervision import Part, PartKind
from bus.security.issuer import issuer_of


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Open the three stores, and make who answers requests about them."""
    clock, quotas = here.clock, here.process.quotas
    async with (
        opened_store(tenants.KIND, here.bucket(TENANTS), quotas) as of_tenants,
        opened_store(members.KIND, here.bucket(MEMBERS), quotas) as of_members,
        opened_store(keys.KIND, here.bucket(KEYS), quotas) as of_keys,
    ):
        known = Known(here.known(KNOWN_TENANTS), here.known(KNOWN_MEMBERS), here.known(KNOWN_KEYS))
        said = Tenants(of_tenants, known.tenants, clock)
        listed = Members(of_members, clock)
        yield Own(
            handlers=[said, listed, Keys(of_keys, said, listed, clock, os.urandom)],
            parts=list(_callout(here, known)),
        )


def _callout(here: Here, known: Known) -> Iterator[Part]:
    """Yield what answers nats-server, where there is a key to sign answers with."""
    config: IdentityConfig = here.config
    if config.issuer_file is not None:
        issuer = issuer_of(Path(config.issuer_file))
        seconds, transport = config.connection_seconds, here.bus.transport
        callout = Callout(issuer, known, transport, here.clock, seconds)
        yield Part(name="callout", kind=PartKind.SERVICE, run=callout.run)


ACTOR = Actor(
    name="identity",
    settings=IdentityConfig,
    stores=[TENANTS, MEMBERS, KEYS],
    follows=[KNOWN_TENANTS, KNOWN_MEMBERS, KNOWN_KEYS],
    services=[Tenants, Members, Keys],
    opened=opened,
)

"""Tenants, members and keys on a real nats-server, which asks the fleet who connects."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from click.testing import CliRunner
from nats.aio.client import Client as Connection
from nats.errors import Error as Refused

from actors.cli.commands import main
from actors.identity.actor import ACTOR
from bus.actor import serve
from bus.client import Client
from bus.config import Timing
from bus.connection import NatsAddress, connect
from bus.errors import ProblemError
from bus.security.permissions import FLEET_USER, password_variable, render
from bus.server import EmbeddedServer, settings
from schemas.identity import Principal, admin
from schemas.ids import PLATFORM
from schemas.tenancy import (
    ApplyTenant,
    CreateKey,
    GetTenant,
    InviteMember,
    ListKeys,
    ListMembers,
    ListTenants,
    RemoveMember,
    RevokeKey,
    RotateKey,
    SetRole,
    SuspendTenant,
)

pytestmark = pytest.mark.single_server

PASSWORD, SECONDS = "made-up-for-this-test", 60
QUICK = Timing(join_seconds=0.1)


@asynccontextmanager
async def identity(folder: Path, env: pytest.MonkeyPatch) -> AsyncGenerator[str]:
    """Run the actor in this process, on a server that asks it; yields the server's address."""
    file = folder / "issuer"
    made = await anyio.to_thread.run_sync(CliRunner().invoke, main, ["nats", "issuer", str(file)])
    assert made.exit_code == 0, made.output
    accounts = render({"acme": [], "globex": []}, made.output.strip())
    plain: Callable[..., str] = settings.render
    env.setattr(settings, "render", lambda **where: plain(**where) + accounts)
    env.setenv(password_variable(FLEET_USER), PASSWORD)
    async with EmbeddedServer(folder / "nats") as server, anyio.create_task_group() as tasks:
        for name, value in {
            "NATS_URL": server.url.replace("//", f"//{FLEET_USER}:{PASSWORD}@"),
            "CALLBOARD_DATA": str(folder),
            "CALLBOARD_ISSUER_FILE": str(file),
        }.items():
            env.setenv(name, value)
        tasks.start_soon(partial(serve, ACTOR, timing=QUICK))
        yield server.url
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def the_fleet(address: str) -> AsyncGenerator[Callable[[Principal], Client]]:
    """Connect as a member of the fleet, who asks on anybody's behalf."""
    url = address.replace("//", f"//{FLEET_USER}:{PASSWORD}@")
    async with connect(NatsAddress(urls=(url,), name="test")) as transport:
        with anyio.fail_after(20):
            while True:
                try:
                    await Client(transport, by=admin("acme")).request("acme", GetTenant())
                    break
                except Exception:  # noqa: BLE001  nobody is there yet
                    await anyio.sleep(0.05)
        yield lambda principal: Client(transport, by=principal)


async def let_in(address: str, key: str, name: str = "x") -> Connection | None:
    """Connect with an API key as token; None where the server refuses it."""
    client = Connection()
    try:
        await client.connect(
            address,
            token=key,
            inbox_prefix=f"_INBOX.acme-{name}",
            allow_reconnect=False,
            max_reconnect_attempts=0,
            error_cb=_ignore,
        )
    except (Refused, OSError):
        await client.close()
        return None
    return client


async def opens(address: str, key: str, name: str = "x") -> bool:
    client = await let_in(address, key, name)
    if client is not None:
        await client.close()
    return client is not None


async def _ignore(_: Exception) -> None:
    pass


async def may_ask(client: Connection, subject: str) -> bool:
    """Say whether the server lets a connection publish: who may not hears nothing at all."""
    try:
        await client.request(subject, b"{}", timeout=0.5)
    except Refused as error:
        return "no responders" in str(error).lower()
    return True


async def refused(asked: "object") -> str:
    with pytest.raises(ProblemError) as error:
        await asked  # pyright: ignore[reportGeneralTypeIssues]
    return error.value.problem.code


async def test_a_key_opens_what_its_owner_may_do_until_it_is_revoked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with anyio.fail_after(SECONDS):
        async with identity(tmp_path, monkeypatch) as address, the_fleet(address) as client:
            acme = client(admin("acme"))
            await acme.request("acme", InviteMember(id="ann", role="OWNER"))
            await acme.request("acme", InviteMember(id="bob", role="VIEWER"))
            wanted = CreateKey(owner="bob", role="VIEWER", scopes=["agents:*", "keys:*"])
            made = await acme.request("acme", wanted)
            name = made.key.id

            bob = await let_in(address, made.secret, name)
            assert bob is not None
            assert await may_ask(bob, "cb.acme.agents.list")
            assert not await may_ask(bob, "cb.acme.agents.execute")
            assert not await may_ask(bob, "cb.globex.agents.list")
            await bob.close()

            assert not await opens(address, made.secret[:-1] + "x")
            assert not await opens(address, "no key at all")
            assert not await opens(address, "")

            rotated = await acme.request("acme", RotateKey(id=name, grace_seconds=0))
            assert not await opens(address, made.secret, name)
            assert await opens(address, rotated.secret, name)

            await acme.request("acme", RevokeKey(id=name))
            assert not await opens(address, rotated.secret, name)
            keys = (await acme.request("acme", ListKeys())).keys
            assert [(key.id, key.revoked_at is not None) for key in keys] == [(name, True)]


async def test_operators_keep_tenants_and_nobody_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with anyio.fail_after(SECONDS):
        async with identity(tmp_path, monkeypatch) as address, the_fleet(address) as client:
            operator, acme, globex = (client(admin(name)) for name in (PLATFORM, "acme", "globex"))
            free = ApplyTenant(id="globex", name="Globex", tier="FREE")
            assert await refused(acme.request("acme", free)) == "forbidden"
            assert (await operator.request(PLATFORM, free)).version == 1
            listed = await operator.request(PLATFORM, ListTenants())
            assert [tenant.id for tenant in listed.tenants] == ["globex"]
            assert (await globex.request("globex", GetTenant())).tier == "FREE"

            every = CreateKey(role="ADMIN", scopes=["agents:*", "members:*"])
            key = await globex.request("globex", every)
            opened = await let_in(address, key.secret)
            assert opened is not None
            assert not await may_ask(opened, "cb.globex.agents.list")
            await opened.close()
            await operator.request(PLATFORM, SuspendTenant(id="globex"))
            assert not await opens(address, key.secret)
            await operator.request(PLATFORM, SuspendTenant(id="globex", suspended=False))
            assert await opens(address, key.secret)


async def test_one_tenant_knows_nothing_of_anothers_keys_nor_a_member_of_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with anyio.fail_after(SECONDS):
        async with identity(tmp_path, monkeypatch) as address, the_fleet(address) as client:
            acme, globex = client(admin("acme")), client(admin("globex"))
            for name, role in (("ann", "OWNER"), ("bob", "MEMBER"), ("eve", "MEMBER")):
                await acme.request("acme", InviteMember(id=name, role=role))  # pyright: ignore[reportArgumentType]
            own = frozenset({"keys:own", "agents:read"})
            bob, eve = (
                client(Principal(tenant="acme", actions=own, user=name)) for name in ("bob", "eve")
            )
            bobs = (await bob.request("acme", CreateKey(scopes=["agents:read"]))).key.id
            for stranger, tenant in ((eve, "acme"), (globex, "globex")):
                for wanted in (RotateKey(id=bobs), RevokeKey(id=bobs)):
                    assert await refused(stranger.request(tenant, wanted)) == "not_found"
                assert (await stranger.request(tenant, ListKeys())).keys == []
            taken = CreateKey(scopes=["agents:read"], owner="bob")
            assert await refused(eve.request("acme", taken)) == "forbidden"
            wider = CreateKey(scopes=["executions:write"])
            assert await refused(eve.request("acme", wider)) == "forbidden"
            unknown = CreateKey(scopes=[], owner="zoe")
            assert await refused(acme.request("acme", unknown)) == "not_found"

            assert await refused(acme.request("acme", RemoveMember(id="ann"))) == "conflict"
            await acme.request("acme", SetRole(id="eve", role="OWNER"))
            left = await acme.request("acme", RemoveMember(id="ann"))
            assert [member.id for member in left.members] == ["bob", "eve"]
            assert (await globex.request("globex", ListMembers())).members == []

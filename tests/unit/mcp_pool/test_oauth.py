"""Tokens of MCP servers over real exchanges, with an authorization server of our own."""

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import pytest
from aiohttp import web

from actors.mcp_pool.actor import ANYWHERE, LIMITS
from actors.mcp_pool.adapters.addressing import Addressing
from actors.mcp_pool.adapters.authorization import Authorization
from actors.mcp_pool.adapters.grant_files import FOLDER, GrantFile
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.login import LoginMeans, log_in
from actors.mcp_pool.core.oauth import BearerChallenge, OauthError
from actors.mcp_pool.core.oauth_grants import OauthGrant
from actors.mcp_pool.core.servers import ServerPlace, ServerSpec
from actors.mcp_pool.core.upstream import CallPlan, Upstream, UpstreamError
from actors.mcp_pool.flow.authorizers import Authorizers, TokenKeeping
from bus.errors import ProblemError
from bus.http import HttpClient
from bus.jetstream.bus import system_clock
from bus.security.egress import Egress
from bus.security.secrets import SecretEntry, Secrets
from bus.tasks import background, loop_time
from schemas.tool_servers import ServerOauth, ServerTerms
from tests.mcp.authorization import SECRET, Guarded, asked_of, browse, guarded

ROBOT = ServerOauth(grant="client_credentials", client_id="robot", secret="robot")
PERSON = ServerOauth()
SECONDS = 20


class Reached(NamedTuple):
    """A guarded server, and what reaches it."""

    server: Guarded
    addressing: Addressing
    lanes: Lanes
    keep: GrantFile
    oauth: ServerOauth

    async def call(self, tenant: str = "acme", *, version: int = 1) -> Any:
        """Call a tool over a connection of its own; an error is returned."""
        upstream = self.upstream(tenant, version=version)
        try:
            await upstream.open(loop_time() + SECONDS)
            await upstream.list_tools(loop_time() + SECONDS)
            return await upstream.call(CallPlan("echo", {}, loop_time() + SECONDS))
        except UpstreamError as error:
            return error
        finally:
            await upstream.close()

    def upstream(self, tenant: str = "acme", *, version: int = 1) -> Upstream:
        terms = ServerTerms(oauth=self.oauth, era="2026")
        places = (ServerPlace("http", url=self.server.url),)
        spec = ServerSpec(name="guard", owner="", version=version, places=places, terms=terms)
        return self.lanes(self.addressing(spec, 0, tenant))

    async def login(self, visit: Any = browse, scopes: tuple[str, ...] = ()) -> OauthGrant:
        """Log in as the command does, and keep what it brings."""
        async with HttpClient(Egress(allow_loopback=True)) as client:
            authorization = Authorization(lambda _: client)
            found = await authorization.discover(self.server.url, BearerChallenge(), None)
            means = LoginMeans(authorization, lambda _: "", now, visit)
            grant = await log_in(self.oauth, means, found, scopes)
        await self.keep.save(grant)
        return grant


def now() -> float:
    return system_clock().timestamp()


@asynccontextmanager
async def reached(folder: Path, oauth: ServerOauth) -> AsyncGenerator[Reached]:
    async with (
        guarded() as server,
        HttpClient(ANYWHERE, LIMITS) as client,
        background() as tasks,
    ):
        hosts = (server.issuer.removeprefix("http://"),)
        entry = SecretEntry(env="ROBOT", hosts=hosts, tenants=("acme", "beta"))
        secrets = Secrets({"robot": entry}, {"ROBOT": SECRET})
        keeping = TokenKeeping(folder, secrets, (client, client), tasks, system_clock)
        addressing = Addressing(secrets, {}, Authorizers(keeping))
        keep = GrantFile(folder, "", "guard", server.url)
        yield Reached(server, addressing, Lanes(tasks, client), keep, oauth)


def good(result: Any) -> bool:
    return not isinstance(result, UpstreamError) and not result.is_error


# Client credentials


async def test_a_client_gets_one_token_for_all_its_calls_and_another_when_it_is_refused(
    tmp_path: Path,
):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, ROBOT) as way:
            results: list[Any] = []

            async def one(tenant: str) -> None:
                results.append(await way.call(tenant))

            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(one, ("acme", "beta")[number % 2])
            first = way.server.counts["client_credentials"]
            way.server.revoke()
            again = await way.call()

    assert all(map(good, [*results, again]))
    assert (first, way.server.counts["client_credentials"]) == (1, 2)
    assert way.server.forms[0]["resource"] == way.server.url
    assert not (tmp_path / FOLDER).exists()


async def test_a_secret_serves_its_tenants_and_goes_to_its_hosts_alone(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, ROBOT) as way:
            with pytest.raises(ProblemError) as refused:
                way.upstream("stranger")
            way.server.metadata = {"token_endpoint": f"{way.server.url}/token"}
            elsewhere = await way.call()

    assert refused.value.problem.code == "unauthorized"
    assert refused.value.problem.field == "server.oauth.secret"
    assert elsewhere.outcome == "rejected"
    assert SECRET not in str(elsewhere)
    assert way.server.forms == []


async def test_a_token_ends_and_is_renewed_before_it_does(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, ROBOT) as way:
            way.server.life = 10.0
            upstream = way.upstream()
            await upstream.open(loop_time() + SECONDS)
            refusals = way.server.counts["401"]
            for _ in range(3):
                await upstream.call(CallPlan("echo", {}, loop_time() + SECONDS))
            await upstream.close()

    assert (refusals, way.server.counts["401"]) == (1, 1)
    assert way.server.counts["client_credentials"] == 4


# Logins


async def test_who_has_logged_in_is_let_in_and_stays_so_by_refreshing(tmp_path: Path):
    """A refresh token is spent once, whoever and however many are refused."""
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            before = await way.call()
            await way.login()
            first = await way.call()
            way.server.revoke()
            results: list[Any] = []

            async def one(address: Reached) -> None:
                results.append(await address.call())

            async with (
                background() as others,
                HttpClient(ANYWHERE, LIMITS) as client,
                anyio.create_task_group() as tasks,
            ):
                secrets = Secrets({}, {})
                keeping = TokenKeeping(tmp_path, secrets, (client, client), others, system_clock)
                other = way._replace(
                    addressing=Addressing(secrets, {}, Authorizers(keeping)),
                    lanes=Lanes(others, client),
                )
                for _ in range(10):
                    tasks.start_soon(one, way)
                    tasks.start_soon(one, other)

    assert before.outcome == "rejected"
    assert "callboard mcp login guard" in str(before)
    assert all(map(good, [first, *results]))
    assert way.server.counts["refresh_token"] == 1
    assert way.server.counts["authorization_code"] == 1


async def test_a_login_is_kept_where_its_user_alone_reads_it(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            await way.login()
            (kept,) = (tmp_path / FOLDER).glob("*.json")
            mode = kept.stat().st_mode & 0o777
            folder = kept.parent.stat().st_mode & 0o777
            kept.chmod(0o644)
            result = await way.call()

    assert (mode, folder) == (0o600, 0o700)
    assert result.outcome == "rejected"
    assert "token-" not in str(result)


async def test_tokens_do_not_follow_a_server_that_moves(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way, guarded() as other:
            await way.login()
            moved = await way._replace(server=other).call(version=2)

    assert moved.outcome == "rejected"
    assert other.counts["401"] == 1
    assert other.forms == []


async def test_a_refresh_token_does_not_follow_to_another_issuer(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way, guarded() as other:
            await way.login()
            assert good(await way.call())
            way.server.revoke()
            way.server.resource = {"authorization_servers": [other.issuer]}
            result = await way.call()

    assert result.outcome == "rejected"
    assert other.forms == []


async def test_a_grant_that_has_ended_asks_for_a_login_and_takes_it_up(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            await way.login()
            assert good(await way.call())
            way.server.revoke()
            way.server.refreshes.clear()
            ended = await way.call()
            await way.login()
            again = await way.call()

    assert "callboard mcp login guard" in str(ended)
    assert good(again)


async def test_more_scopes_are_asked_for_with_those_that_there_are(tmp_path: Path):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, ROBOT) as way:
            way.server.resource = {"scopes_supported": ["read"]}
            way.server.needs = {"tools/call": {"write"}}
            result = await way.call()
            way.server.needs = {"tools/call": {"never"}}
            way.server.resource = {}
            person = way._replace(oauth=PERSON)
            await person.login(scopes=("read",))
            lacking = await person.call(version=3)

    assert good(result)
    assert [form.get("scope") for form in way.server.forms[:2]] == ["read", "read write"]
    assert "--scope 'read never'" in str(lacking)


async def test_an_authorization_server_that_fails_is_not_asked_by_every_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    caplog.set_level(logging.DEBUG)
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, ROBOT) as way:
            way.server.fails = [web.Response(status=503, text=SECRET)] * 5
            results = [await way.call() for _ in range(5)]

    assert {each.outcome for each in results} == {"not_sent"}
    assert way.server.counts["client_credentials"] == 1
    assert SECRET not in caplog.text
    assert not any(SECRET in str(each) for each in results)


@pytest.mark.parametrize(
    ("resource", "metadata", "iss"),
    [
        ({"resource": "https://evil.example/mcp"}, {}, None),
        ({}, {"issuer": "https://evil.example"}, None),
        ({}, {"code_challenge_methods_supported": []}, None),
        ({}, {"token_endpoint": "http://evil.example/token"}, None),
        ({}, {}, "https://evil.example"),
        ({"authorization_servers": []}, {}, None),
    ],
)
async def test_metadata_that_leads_elsewhere_ends_a_login(
    tmp_path: Path, resource: dict[str, Any], metadata: dict[str, Any], iss: str | None
):
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            way.server.resource, way.server.metadata, way.server.iss = resource, metadata, iss
            with pytest.raises(OauthError):
                await way.login()

    assert way.server.forms == []
    assert not (tmp_path / FOLDER).exists()


async def test_a_browser_that_comes_back_from_elsewhere_is_not_believed(tmp_path: Path):
    async def visit(url: str) -> None:
        asked = asked_of(url)
        place = asked["redirect_uri"][0]
        async with HttpClient(Egress(allow_loopback=True)) as client:
            for path in (f"{place}?code=stolen&state=other", f"{place}2", f"{place}?code=x"):
                answer = await client.send("GET", path)
                assert answer.status == 404
                answer.close()
        await browse(url)

    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            await way.login(visit)

    assert [form["code"] for form in way.server.forms] == ["code-1"]


async def test_a_client_is_the_one_agreed_on_described_or_registered(tmp_path: Path):
    document = "https://callboard.example/client.json"
    offers = {"client_id_metadata_document_supported": True}
    with anyio.fail_after(SECONDS):
        async with reached(tmp_path, PERSON) as way:
            await way.login()
            way.server.metadata = offers
            await way.login()
            await way._replace(oauth=ServerOauth(client_metadata=document)).login()
            await way._replace(oauth=ServerOauth(client_id="agreed")).login()
            way.server.metadata = {"registration_endpoint": ""}
            with pytest.raises(OauthError, match="client_id"):
                await way.login()

    found = [asked["client_id"] for asked in way.server.logins]
    assert found == ["registered", "registered", document, "agreed"]

"""An authorization server and a server that wants its tokens, on the loopback interface."""

from base64 import b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlencode, urlsplit

from aiohttp import ClientSession, web

SECRET = "s3cr3t/+="


@dataclass
class Guarded:
    """Both servers, and what they were asked.

    A token is good for one issuer, one resource and its scopes; a refresh token once.
    """

    url: str = ""
    issuer: str = ""
    life: float = 3600.0
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])
    resource: dict[str, Any] = field(default_factory=dict[str, Any])
    needs: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    rotates: bool = True
    iss: str | None = None
    counts: Counter[str] = field(default_factory=Counter[str])
    forms: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    logins: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    good: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    refreshes: set[str] = field(default_factory=set[str])
    fails: list[web.Response] = field(default_factory=list[web.Response])

    def revoke(self) -> None:
        """Let no access token be good any more."""
        self.good.clear()

    # The authorization server

    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "registration_endpoint": f"{self.issuer}/register",
            "code_challenge_methods_supported": ["S256"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "none"],
            "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }

    async def register(self, request: web.Request) -> web.Response:
        self.counts["register"] += 1
        wanted = await request.json()
        assert wanted["application_type"] == "native"
        named = {"client_id": "registered", "token_endpoint_auth_method": "none"}
        return web.json_response(wanted | named, status=201)

    async def authorize(self, request: web.Request) -> web.Response:
        asked = dict(request.query)
        self.logins.append(asked)
        back = {
            "code": f"code-{len(self.logins)}",
            "state": asked["state"],
            "iss": self.iss or self.issuer,
        }
        raise web.HTTPFound(f"{asked['redirect_uri']}?{urlencode(back)}")

    async def token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        self.counts[form["grant_type"]] += 1
        if self.fails:
            return self.fails.pop(0)
        refusal = self._refusal(form, request.headers.get("Authorization", ""))
        if refusal is not None:
            return web.json_response({"error": refusal, "error_description": SECRET}, status=400)
        return web.json_response(self._granted(form))

    def _refusal(self, form: dict[str, str], authorization: str) -> str | None:
        match form["grant_type"]:
            case "client_credentials":
                pair = b64decode(authorization.removeprefix("Basic ")).decode().split(":")
                known = [unquote_plus(each) for each in pair] == ["robot", SECRET]
                return None if known else "invalid_client"
            case "refresh_token":
                known = form["refresh_token"] in self.refreshes
                if self.rotates:
                    self.refreshes.discard(form["refresh_token"])
                return None if known else "invalid_grant"
            case _:
                login = self.logins[int(form["code"].removeprefix("code-")) - 1]
                digest = sha256(form["code_verifier"].encode()).digest()
                shown = urlsafe_b64encode(digest).decode().rstrip("=")
                same = (shown, form["redirect_uri"], form["resource"]) == (
                    login["code_challenge"],
                    login["redirect_uri"],
                    login["resource"],
                )
                return None if same else "invalid_grant"

    def _granted(self, form: dict[str, str]) -> dict[str, Any]:
        number = len(self.forms)
        login = self.logins[-1] if self.logins else {}
        scope = form.get("scope") or login.get("scope", "")
        self.good[f"token-{number}"] = set(scope.split())
        answer: dict[str, Any] = {
            "access_token": f"token-{number}",
            "token_type": "bearer",
            "expires_in": self.life,
        }
        if scope:
            answer["scope"] = scope
        if form["grant_type"] != "client_credentials" and self.rotates:
            answer["refresh_token"] = f"refresh-{number}"
            self.refreshes.add(answer["refresh_token"])
        return answer

    # The MCP server

    async def call(self, request: web.Request) -> web.Response:
        body = await request.json()
        method = body.get("method", "")
        self.counts[method] += 1
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if "id" in body and token not in self.good:
            return self._unauthorized(401, 'error="invalid_token"')
        if "id" in body and (missing := self.needs.get(method, set()) - self.good[token]):
            told = f'error="insufficient_scope", scope="{" ".join(missing)}"'
            return self._unauthorized(403, told)
        if "id" not in body:
            return web.Response(status=202)
        return web.json_response(_result(body["id"], method))

    def _unauthorized(self, status: int, told: str) -> web.Response:
        self.counts[str(status)] += 1
        where = f"{self.url.removesuffix('/mcp')}/.well-known/oauth-protected-resource/mcp"
        header = f'Bearer {told}, resource_metadata="{where}"'
        return web.Response(status=status, headers={"WWW-Authenticate": header})

    async def published(self, _: web.Request) -> web.Response:
        self.counts["resource"] += 1
        said = {"resource": self.url, "authorization_servers": [self.issuer], **self.resource}
        return web.json_response(said)


@asynccontextmanager
async def guarded() -> AsyncGenerator[Guarded]:
    """Run both servers in this process."""
    both = Guarded()
    issuer, server = web.Application(), web.Application()

    async def described(_: web.Request) -> web.Response:
        return web.json_response(both.described())

    issuer.router.add_get("/.well-known/oauth-authorization-server", described)
    issuer.router.add_post("/register", both.register)
    issuer.router.add_get("/authorize", both.authorize)
    issuer.router.add_post("/token", both.token)
    server.router.add_get("/.well-known/oauth-protected-resource/mcp", both.published)
    server.router.add_post("/mcp", both.call)
    runners = [web.AppRunner(app, access_log=None, shutdown_timeout=0) for app in (issuer, server)]
    try:
        for runner in runners:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
        both.issuer, origin = (f"http://127.0.0.1:{each.addresses[0][1]}" for each in runners)
        both.url = f"{origin}/mcp"
        yield both
    finally:
        for runner in runners:
            await runner.cleanup()


async def browse(url: str) -> None:
    """Do what a browser does for a person who is logged in already."""
    async with ClientSession() as session, session.get(url) as answer:
        assert answer.status == 200, await answer.text()


def asked_of(url: str) -> dict[str, list[str]]:
    """Return the query of a URL."""
    return parse_qs(urlsplit(url).query)


def _result(number: int, method: str) -> dict[str, Any]:
    tools = {"resultType": "complete", "tools": [_TOOL], "ttlMs": 0, "cacheScope": "private"}
    content = {"resultType": "complete", "content": [{"type": "text", "text": "ok"}]}
    discovered = {
        "resultType": "complete",
        "supportedVersions": ["2026-07-28"],
        "capabilities": {"tools": {}},
        "ttlMs": 0,
        "cacheScope": "private",
    }
    found = {"server/discover": discovered, "tools/list": tools}.get(method, content)
    return {"jsonrpc": "2.0", "id": number, "result": found}


_TOOL = {"name": "echo", "inputSchema": {"type": "object"}}

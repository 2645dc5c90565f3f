"""The APIs behind support servers, played on the loopback interface."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

Answer = Callable[[web.Request], Awaitable[web.Response]]


@dataclass
class Upstream:
    """What was asked: method and path with query, authorization, and body as it came."""

    url: str = ""
    asked: list[str] = field(default_factory=list[str])
    authorizations: list[str] = field(default_factory=list[str])
    bodies: list[str] = field(default_factory=list[str])


@asynccontextmanager
async def upstream(answer: Answer) -> AsyncGenerator[Upstream]:
    """Serve every path by ``answer`` while the context is open."""
    seen = Upstream()

    async def handle(request: web.Request) -> web.Response:
        seen.asked.append(f"{request.method} {request.path_qs}")
        seen.authorizations.append(request.headers.get("Authorization", ""))
        seen.bodies.append(await request.text())
        return await answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        seen.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield seen
    finally:
        await runner.cleanup()


class HelpDesk:
    """Plays Help Scout: grants tokens, knows those it has granted, answers what a test gives it."""

    def __init__(self, rows: Mapping[str, Any] | None = None) -> None:
        self.rows: dict[str, Any] = dict(rows or {})
        self.tokens: list[str] = []
        self.revoked: set[str] = set()
        self.before: list[web.Response] = []
        """Given instead, in turn, to whatever is asked with a token."""

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/v2/oauth2/token":
            return await self._granted(request)
        if request.path.startswith("/v1/"):
            return web.json_response(self.rows[request.path])
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.tokens or token in self.revoked:
            return web.json_response({"error": "invalid_token"}, status=401)
        if self.before:
            return self.before.pop(0)
        return self._answer(request)

    async def _granted(self, request: web.Request) -> web.Response:
        form = await request.post()
        known = {
            "grant_type": "client_credentials",
            "client_id": "app",
            "client_secret": "app-secret",
        }
        if dict(form) != known:
            return web.json_response({"error": "invalid_client"}, status=401)
        self.tokens.append(f"token-{len(self.tokens) + 1}")
        return web.json_response({"access_token": self.tokens[-1], "expires_in": 172800})

    def _answer(self, request: web.Request) -> web.Response:
        if request.method == "PATCH":
            return web.Response(status=204)
        if request.method == "POST":
            return web.Response(status=201, headers={"Resource-ID": "901"})
        found = self.rows.get(request.path)
        if isinstance(found, list):
            # One entry a page.
            found = found[int(request.query.get("page", "1")) - 1]
        if found is None:
            return web.json_response({"message": "Not found", "secret": "leaked"}, status=404)
        return web.json_response(found)

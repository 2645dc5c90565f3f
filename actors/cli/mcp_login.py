"""``callboard mcp login``: a person lets the fleet use an MCP server that asks who they are.

It opens a session with the server, as the pool does, and shows the person the page that the
server's authorization server wants them to see. What comes of it is kept below the data directory,
where the pools of this machine find it.
"""

import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from actors.cli import rendering
from actors.cli.session import Session, leave, run, with_session
from actors.mcp_pool.actor import ANYWHERE
from actors.mcp_pool.adapters.addressing import Addressing
from actors.mcp_pool.adapters.grant_files import GrantFile, NewGrant
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.login import LoginMeans, log_in
from actors.mcp_pool.adapters.operator_file import named_servers
from actors.mcp_pool.config import McpPoolConfig
from actors.mcp_pool.core.servers import ServerSpec, spec_of
from actors.mcp_pool.core.upstream import UpstreamError
from actors.mcp_pool.flow.authorizers import TokenKeeping
from actors.mcp_pool.flow.authorizing import Authorizer
from bus.client import Client
from bus.config import load
from bus.errors import ConfigError, problem
from bus.http import HttpClient
from bus.jetstream.bus import system_clock
from bus.security.egress import Egress
from bus.security.secrets import Secrets
from bus.tasks import background, loop_time
from schemas.tool_servers import GetServer, ServerOauth

SERVER_SECONDS = 360.0
"""So long the server may take, and the person."""


@click.command()
@click.argument("server")
@click.option("--scope", help="Scopes to ask for, in place of those that the server wants.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    help="Where the browser comes back to on this machine.  [a free one]",
)
@click.option("--no-browser", is_flag=True, help="Only print the address of the page.")
@click.option("--forget", is_flag=True, help="Delete what is kept of a login, and log in no more.")
@with_session
def login(
    session: Session, server: str, scope: str | None, port: int, *, no_browser: bool, forget: bool
) -> None:
    """Log in to an MCP server whose terms have oauth, so that the pool may use it.

    Run it with the pool's CALLBOARD_DATA, as the user that the pool runs as. The browser comes back
    to this machine: from another one, forward the port.
    """
    config = load(McpPoolConfig, os.environ)
    options = _Options(scope, port, not no_browser, forget)

    async def log_in_as_told(spec: ServerSpec) -> None:
        oauth = _oauth(spec)
        for number in range(len(spec.places)):
            login_of = _Login(config, spec, number, session.tenant, oauth, options)
            rendering.line(await login_of.forgotten() if forget else await login_of.made())

    async def of_tenant(client: Client) -> None:
        definition = await client.request(session.tenant, GetServer(id=server))
        await log_in_as_told(spec_of(definition, session.tenant))

    try:
        named = named_servers(config, os.environ).get(server)
    except ConfigError as error:
        leave(error)
    if named is None:
        session.run(of_tenant)
    else:
        # No bus is needed, so that it can be done before the fleet is started.
        run(partial(log_in_as_told, named.spec))


class _Options(NamedTuple):
    scope: str | None
    port: int
    browser: bool
    forget: bool


def _oauth(spec: ServerSpec) -> ServerOauth:
    """Return the terms by which a person logs in.

    Raises:
        ProblemError: ``validation``: there are none.
    """
    oauth = spec.terms.oauth
    if oauth is None or oauth.grant != "authorization_code":
        reason = f"nobody logs in to {spec.name}: its terms have no oauth by authorization_code"
        raise problem("validation", reason, field="server.oauth")
    return oauth


class _Login(NamedTuple):
    """A login at one URL of a server."""

    config: McpPoolConfig
    spec: ServerSpec
    number: int
    tenant: str
    oauth: ServerOauth
    options: _Options

    @property
    def url(self) -> str:
        """Where it is."""
        return self.spec.places[self.number].url

    async def forgotten(self) -> str:
        """Delete what is kept, and say so."""
        await GrantFile(Path(self.config.data), self.spec.owner, self.spec.name, self.url).forget()
        return f"no login is kept for {self.url}"

    async def made(self) -> str:
        """Log in, and say what there is then."""
        config, spec = self.config, self.spec
        egress = Egress(allow_loopback=config.allow_loopback, allowed=config.allowed_hosts)
        secrets = Secrets.load({}, config.secrets_file, os.environ)
        async with (
            HttpClient(egress, field="server") as checked,
            HttpClient(ANYWHERE, field="server") as free,
            background() as tasks,
        ):
            bearer = self._authorizer(
                TokenKeeping(Path(config.data), secrets, (checked, free), tasks, system_clock)
            )
            address = Addressing(secrets, os.environ)(spec, self.number, self.tenant)
            address = address._replace(bearer=bearer)
            upstream = Lanes(tasks, free if spec.is_operators else checked)(address)
            try:
                await upstream.open(loop_time() + SERVER_SECONDS)
                tools = await upstream.list_tools(loop_time() + SERVER_SECONDS)
            except UpstreamError as error:
                raise problem("unauthorized", error.message, field="server.oauth") from None
            finally:
                await upstream.close()
            if not await bearer.token():
                reason = "the server asks nobody to log in"
                raise problem("validation", reason, field="server.oauth")
        return f"logged in: {self.url} offers {len(tools.items)} tools"

    def _authorizer(self, keeping: TokenKeeping) -> Authorizer:
        """Return who has the token: none that was kept, and a person who is here."""
        spec, options = self.spec, self.options
        means = keeping(spec, self.url, self.tenant)
        oauth = self.oauth
        if options.scope is not None:
            oauth = msgspec.structs.replace(oauth, scope=options.scope)
        visit = partial(_show, browser=options.browser)
        at = LoginMeans(means.authorization, means.secret, means.clock, visit, options.port)
        keep = NewGrant(Path(self.config.data), spec.owner, spec.name, self.url)
        means = means._replace(keep=keep, login=partial(log_in, oauth, at))
        return Authorizer(spec.name, self.url, oauth, means)


async def _show(url: str, *, browser: bool) -> None:
    rendering.line(f"Log in here:\n{url}", err=True)
    if browser:
        click.launch(url)

"""Who has the access tokens of servers: one for each URL of a server that wants any."""

from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from anyio.abc import TaskGroup

from actors.mcp_pool.adapters.authorization import Authorization
from actors.mcp_pool.adapters.grant_files import GrantFile, MemoryGrant
from actors.mcp_pool.core.servers import ServerSpec
from actors.mcp_pool.flow.authorizing import Authorizer, TokenMeans
from bus.http import HttpClient
from bus.ports import Clock
from bus.security.secrets import Secrets

MOST_AUTHORIZERS = 4000


class Authorizers:
    """Those of all servers, each made when it is needed; a changed definition has a new one."""

    def __init__(self, means: Callable[[ServerSpec, str, str], TokenMeans]) -> None:
        self._means = means
        self._made: OrderedDict[tuple[str, str, str], tuple[ServerSpec, Authorizer]] = OrderedDict()

    def __call__(self, spec: ServerSpec, url: str, tenant: str) -> Authorizer | None:
        """Return who has the token for one replica of a server; None where it wants none."""
        if spec.terms.oauth is None:
            return None
        key = (spec.owner, spec.name, url)
        made = self._made.get(key)
        if made is None or made[0].version != spec.version:
            means = self._means(spec, url, tenant)
            made = spec, Authorizer(spec.name, url, spec.terms.oauth, means)
            self._made[key] = made
        self._made.move_to_end(key)
        if len(self._made) > MOST_AUTHORIZERS:
            self._made.popitem(last=False)
        return made[1]


class TokenKeeping:
    """Makes what tokens are obtained with.

    ``clients`` are the one held to the egress policy and, for the operator's servers, the one that
    goes anywhere. Logins are kept below the directory ``data``.
    """

    def __init__(
        self,
        data: Path,
        secrets: Secrets,
        clients: tuple[HttpClient, HttpClient],
        tasks: TaskGroup,
        clock: Clock,
    ) -> None:
        self._clock = clock
        self._data = data
        self._secrets = secrets
        self._clients = clients
        self._tasks = tasks

    def __call__(self, spec: ServerSpec, url: str, tenant: str) -> TokenMeans:
        """Return the means for one URL of a server."""
        oauth = spec.terms.oauth
        by_person = oauth is not None and oauth.grant == "authorization_code"
        keep = GrantFile(self._data, spec.owner, spec.name, url) if by_person else MemoryGrant()
        return TokenMeans(
            Authorization(partial(self._client, spec, url)),
            keep,
            partial(self._secret, spec, tenant),
            lambda: self._clock().timestamp(),
            self._tasks,
        )

    def _client(self, spec: ServerSpec, server: str, url: str) -> HttpClient:
        """Return the client for a URL. A server that the operator has named leads to no others.

        Its metadata is its own word, so only its own host and that of the issuer which the operator
        demands are reached wherever they are.
        """
        checked, free = self._clients
        oauth = spec.terms.oauth
        trusted = (server, oauth.issuer if oauth is not None else None)
        hosts = {urlsplit(each).hostname for each in trusted if each is not None}
        return free if spec.is_operators and urlsplit(url).hostname in hosts else checked

    def _secret(self, spec: ServerSpec, tenant: str, url: str) -> str:
        oauth = spec.terms.oauth
        name = (oauth.secret if oauth is not None else None) or ""
        return self._secrets.resolve(name, url, tenant, field="server.oauth.secret")

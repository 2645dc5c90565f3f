"""The access token of a server: kept, refreshed before it ends, renewed once it is refused.

However many calls are refused at once, one renewal is under way: in a task of its own, because a
refresh token that was spent while its caller was cancelled would be lost.
"""

import math
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import anyio
import structlog
from anyio.abc import TaskGroup

from actors.mcp_pool.adapters.authorization import Authorization, ClientSecret, with_secret
from actors.mcp_pool.adapters.grant_files import GrantKeep
from actors.mcp_pool.core.oauth import (
    BearerChallenge,
    Discovered,
    OauthError,
    auth_method,
    bearer_challenge,
    scopes_wanted,
)
from actors.mcp_pool.core.oauth_grants import (
    OauthClient,
    OauthGrant,
    TokenRefusedError,
    by_credentials,
    by_refresh,
    granted,
)
from actors.mcp_pool.core.upstream import UpstreamError
from actors.mcp_pool.flow.single_flight import SingleFlight, copied
from bus.tasks import loop_time
from schemas.tool_servers import ServerOauth

log = structlog.get_logger()

RENEW_SECONDS = 120.0
"""A renewal takes no longer, unless a person has to log in."""

PAUSE_SECONDS = 5.0
"""After a renewal that failed none is tried for so long; a new login is taken up at once."""

Login = Callable[[Discovered, tuple[str, ...]], Awaitable[OauthGrant]]
"""Has a person log in with scopes. Raises ``OauthError``."""


class TokenMeans(NamedTuple):
    """What tokens of one server are obtained with.

    ``clock`` tells seconds since 1970. Without ``login`` nobody is asked to log in.
    """

    authorization: Authorization
    keep: GrantKeep
    secret: ClientSecret
    clock: Callable[[], float]
    tasks: TaskGroup
    login: Login | None = None


class _Wanted(NamedTuple):
    """Why a token is renewed: another one was ``refused``, or it is about to end."""

    refused: str = ""
    challenge: BearerChallenge | None = None


class Authorizer:
    """See ``Bearer``. ``name`` and ``url`` are the server's."""

    def __init__(self, name: str, url: str, terms: ServerOauth, means: TokenMeans) -> None:
        self._name = name
        self._url = url
        self._terms = terms
        self._means = means
        self._grant: OauthGrant | None = None
        self._is_loaded = False
        self._wanted = _Wanted()
        self._flight = SingleFlight[None](means.tasks, self._renew)
        self._failed: tuple[float, UpstreamError] | None = None

    @property
    def key(self) -> str:
        """See ``Bearer.key``."""
        return f"{self._name} {self._terms.client_id or ''} {self._terms.secret or ''}"

    async def token(self) -> str:
        """See ``Bearer.token``. Without a grant the server is asked without one, and says so."""
        if not self._is_loaded:
            await self._flight.result(math.inf)
        grant = self._grant
        if grant is not None and grant.is_stale(self._means.clock()) and self._can_renew(grant):
            await self._run(_Wanted())
        return self._grant.access_token if self._grant is not None else ""

    async def renewed(self, refused: str, challenge: str) -> str:
        """See ``Bearer.renewed``."""
        if self._grant is None or self._grant.access_token == refused:
            await self._run(_Wanted(refused, bearer_challenge(challenge)))
        return self._grant.access_token if self._grant is not None else ""

    def _can_renew(self, grant: OauthGrant) -> bool:
        return bool(grant.refresh_token) or self._terms.grant == "client_credentials"

    async def _run(self, wanted: _Wanted) -> None:
        self._wanted = wanted
        await self._flight.result(math.inf)

    # In the task of the renewal

    async def _renew(self) -> None:
        """Take the grant that another process has renewed, or renew it."""
        try:
            with anyio.fail_after(None if self._means.login else RENEW_SECONDS):
                async with self._means.keep.alone():
                    await self._renewed()
            self._failed = None
        except (OauthError, TimeoutError) as error:
            transient = isinstance(error, TimeoutError) or error.transient
            told = str(error) or "The authorization server takes too long."
            outcome = "not_sent" if transient else "rejected"
            failure = UpstreamError(outcome, told)
            self._failed = (loop_time() + PAUSE_SECONDS, failure)
            log.warning("mcp_pool.not_authorized", server=self._name, transient=transient)
            raise failure from None

    async def _renewed(self) -> None:
        wanted, means = self._wanted, self._means
        kept = await means.keep.load()
        is_first, self._is_loaded = not self._is_loaded, True
        usable = kept is not None and not kept.is_stale(means.clock())
        if is_first or (usable and kept is not None and kept.access_token != wanted.refused):
            self._grant = kept
            return
        if self._failed is not None and loop_time() < self._failed[0]:
            raise copied(self._failed[1])
        new = await self._obtained(kept, wanted)
        await means.keep.save(new)
        self._grant = new

    async def _obtained(self, kept: OauthGrant | None, wanted: _Wanted) -> OauthGrant:
        """Return new tokens; those that are kept are refreshed where that is all they need."""
        means, terms = self._means, self._terms
        if kept is not None and wanted.challenge is None:
            refreshed = await self._refreshed(kept)
            if refreshed is not None:
                return refreshed
        # Asked anew even so: the server may have gone to another authorization server.
        asked = wanted.challenge or BearerChallenge(tuple(kept.scopes) if kept is not None else ())
        found = await means.authorization.discover(self._url, asked, terms.issuer)
        if kept is not None and kept.issuer != found.issuer.issuer:
            kept = None
        if kept is not None and wanted.challenge is not None and not asked.wants_more:
            refreshed = await self._refreshed(kept)
            if refreshed is not None:
                return refreshed
        by_person, before = terms.grant == "authorization_code", kept.scopes if kept else []
        scopes = scopes_wanted(terms.scope, asked, found, before, refreshes=by_person)
        if not by_person:
            return await self._by_credentials(found, scopes)
        if means.login is None:
            more = f" --scope '{' '.join(scopes)}'" if asked.wants_more else ""
            raise OauthError(f"Nobody has logged in: `callboard mcp login {self._name}{more}`.")
        return await means.login(found, scopes)

    async def _refreshed(self, grant: OauthGrant) -> OauthGrant | None:
        """Return a grant with new tokens, None where it can be refreshed no more."""
        if not grant.refresh_token:
            return None
        url = grant.token_endpoint
        client = with_secret(grant.client, self._terms, url, self._means.secret)
        form = by_refresh(grant)
        try:
            answer = await self._means.authorization.tokens(url, form, grant.resource, client)
            return granted(answer, grant, self._means.clock())
        except TokenRefusedError as error:
            if error.ends_grant:
                return None
            raise

    async def _by_credentials(self, found: Discovered, scopes: tuple[str, ...]) -> OauthGrant:
        url = found.issuer.token_endpoint
        methods = found.issuer.token_endpoint_auth_methods_supported
        known = OauthClient(
            id=self._terms.client_id or "", method=auth_method(methods, secret=True)
        )
        empty = OauthGrant(
            resource=found.resource,
            issuer=found.issuer.issuer,
            token_endpoint=url,
            client=known,
            access_token="",
            scopes=list(scopes),
        )
        client = with_secret(known, self._terms, url, self._means.secret)
        form = by_credentials(scopes)
        answer = await self._means.authorization.tokens(url, form, found.resource, client)
        return granted(answer, empty, self._means.clock())

"""Where a replica is, with the secrets in place: read in the moment in which they are used."""

from collections.abc import Callable, Mapping

from actors.mcp_pool.core.servers import ServerSpec
from actors.mcp_pool.core.upstream import Bearer, ServerAddress
from bus.security.secrets import Secrets

Bearers = Callable[[ServerSpec, str, str], Bearer | None]
"""Returns who has the token for a URL of a server, on a tenant's behalf."""


def no_bearer(spec: ServerSpec, url: str, tenant: str) -> None:
    """Return nobody."""
    del spec, url, tenant


class Addressing:
    """Fills in secrets by the operator's map of them, and says who has the tokens."""

    def __init__(
        self, secrets: Secrets, environ: Mapping[str, str], bearers: Bearers = no_bearer
    ) -> None:
        self._secrets = secrets
        self._environ = environ
        self._bearers = bearers

    def __call__(self, spec: ServerSpec, number: int, tenant: str) -> ServerAddress:
        """Return the address of a replica for a tenant.

        Raises:
            ProblemError: a secret is not there, or must not go to that place or serve that tenant.
        """
        place, oauth = spec.places[number], spec.terms.oauth
        if oauth is not None and oauth.secret is not None:
            # A token that was obtained for one tenant's call is sent for others too.
            self._secrets.demand(oauth.secret, tenant, field="server.oauth.secret")
        return ServerAddress(
            name=spec.name,
            kind=place.lane,
            url=place.url,
            command=place.command,
            env=self._env(spec),
            headers=self._headers(spec, place.url, tenant),
            era=spec.terms.era,
            bearer=self._bearers(spec, place.url, tenant),
        )

    def _headers(self, spec: ServerSpec, url: str, tenant: str) -> dict[str, str]:
        terms, resolve = spec.terms, self._secrets.resolve
        headers = dict(terms.headers)
        if terms.secret is not None:
            secret = resolve(terms.secret, url, tenant, field="server.secret")
            headers["Authorization"] = f"Bearer {secret}"
        for header, name in terms.secret_headers.items():
            field = f"server.secret_headers.{header}"
            headers[header] = resolve(name, url, tenant, field=field)
        return headers

    def _env(self, spec: ServerSpec) -> dict[str, str]:
        known = self._environ
        return spec.env | {name: known[name] for name in spec.env_from if name in known}

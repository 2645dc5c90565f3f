"""Who sends a request: the principal in whose name owners are commanded, and what they answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from bus.codec import accept, encode
from bus.errors import ProblemError
from bus.ports import Delivery
from bus.requests.rpc import Owners
from bus.subjects import is_ask, is_token, tenant_of
from schemas.beginnings import REPLY_TO_HEADER, Beginner
from schemas.identity import HEADER, NOBODY, Principal, admin
from schemas.journal import CommandEnvelope

SUBMISSION = "Callboard-Submission"
"""The header of a request that is a submitted command, on its way from the inbox: its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks for a tenant, and for submitted commands the id of the submission.

    ``by`` is who is known to ask. Where that is None the subject tells it: the server lets nobody
    but users of the fleet ask in the name of the platform, and a tenant's user is its admin.
    ``began_by`` is the entity of the same tenant that is told of the end of what is begun.
    ``commits`` are the newest that the answers of owners on the way follow from, by shard: whoever
    waits may look at an entity any number of times.
    """

    tenant: str
    submission: str | None = None
    trace: str | None = None
    reply: str = ""
    by: Principal | None = None
    began_by: Beginner | None = None
    commits: dict[str, int] = field(default_factory=dict[str, int], compare=False)

    @property
    def principal(self) -> Principal:
        """Who asks, with what is allowed to them."""
        return self.by or admin(self.tenant)

    @property
    def name(self) -> str:
        """Who asks, as journals keep it."""
        return _name(self.principal)

    @property
    def positions(self) -> list[str]:
        """The positions of what this caller is answered: one for each shard that was asked."""
        return [f"{shard}.{n}" for shard, n in self.commits.items()]

    async def ask(self, owners: Owners, envelope: CommandEnvelope, *, timeout: float) -> bytes:
        """Ask an owner; the caller's own answer then tells its position.

        Raises:
            ProblemError: the owner refuses, or ``unavailable`` after ``timeout`` seconds.
        """
        answer = await owners.ask(envelope, timeout=timeout)
        shard, _, n = answer.position.rpartition(".")
        if shard:
            self.commits[shard] = max(int(n), self.commits.get(shard, 0))
        return answer

    def command(
        self,
        id: str,  # noqa: A002  it is one
        key: str,
        body: msgspec.Struct,
    ) -> CommandEnvelope:
        """Build the envelope that carries a command of this caller to an entity of its tenant."""
        return self.envelope(id, key, msgspec.Raw(encode(body)))

    def envelope(
        self,
        id: str,  # noqa: A002  it is one
        key: str,
        body: msgspec.Raw,
        *,
        digest: str = "",
        fresh: bool = False,
    ) -> CommandEnvelope:
        """Build the envelope of a command that is encoded; a submission is named as its cause."""
        return CommandEnvelope(
            id=id,
            tenant=self.tenant,
            key=key,
            body=body,
            digest=digest,
            fresh=fresh,
            trace=self.trace,
            by=self.name,
            cause=self.submission or "",
        )


def caller_of(delivery: Delivery) -> Caller:
    """Return who sent a request, by its subject and headers."""
    headers, tenant = delivery.headers or {}, tenant_of(delivery.subject)
    by, began_by = _on_behalf(headers, tenant) if is_ask(delivery.subject) else (None, None)
    return Caller(
        tenant=tenant,
        submission=_submission(headers.get(SUBMISSION)),
        trace=headers.get("traceparent"),
        reply=delivery.reply,
        by=by,
        began_by=began_by,
    )


def _on_behalf(headers: Mapping[str, str], tenant: str) -> tuple[Principal, Beginner | None]:
    """Return on whose behalf a member of the fleet asks, and which entity is told of the end.

    Where it does not say so legibly it is nobody, who may do nothing: an entity that is never told
    would wait for long.
    """
    told = headers.get(REPLY_TO_HEADER)
    if told is None:
        return _principal(headers.get(HEADER)), None
    try:
        began_by = accept(Beginner, told.encode())
    except ProblemError:
        return NOBODY, None
    if began_by.reply_to.tenant != tenant:
        return NOBODY, None
    return _principal(headers.get(HEADER)), began_by


def _name(principal: Principal) -> str:
    """Name a principal, as journals keep it: its tenant, and who of that tenant it is."""
    usual = "operator" if principal.is_operator else "admin"
    return f"{principal.tenant}/{principal.user or principal.key or usual}"


def _principal(given: str | None) -> Principal:
    """Return on whose behalf a member of the fleet asks; nobody, if it does not say so legibly."""
    try:
        return accept(Principal, (given or "").encode())
    except ProblemError:
        return NOBODY


def _submission(given: str | None) -> str | None:
    """Return the id that a request's header gives it, as its body could."""
    return given if given is not None and is_token(given) else None

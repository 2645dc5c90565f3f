"""Who sends a request: the principal in whose name owners are commanded, and what they answer."""

from dataclasses import dataclass, field
from typing import Literal

import msgspec

from bus.ports import Delivery
from bus.rpc import Owners, command
from bus.subjects import is_token, parse
from schemas.ids import PLATFORM
from schemas.journal import Mail

Role = Literal["operator", "admin"]

SUBMISSION = "Callboard-Submission"
"""The header of a request that is a submitted command, on its way from the inbox: its id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks: the tenant of the subject, and for submitted commands the id of the submission.

    Until users have identities the subject tells the role: the server lets nobody but users of the
    fleet ask in the name of the platform, and a tenant's user is its admin. An admin sets budgets
    and limits of the tenant; those of the operator are no part of them.
    """

    tenant: str
    submission: str | None = None
    trace: str | None = None
    reply: str = ""
    positions: list[str] = field(default_factory=list[str], compare=False)

    async def ask(self, owners: Owners, mail: Mail, *, timeout: float) -> bytes:
        """Ask an owner; the caller's own answer then tells its position.

        Raises:
            ProblemError: the owner refuses, or ``unavailable`` after ``timeout`` seconds.
        """
        answer = await owners.ask(mail, timeout=timeout)
        self.positions.append(answer.position)
        return answer

    @property
    def by(self) -> str:
        """Name the principal, as journals keep it."""
        return f"{self.tenant}/{self.role}"

    def command(
        self,
        id: str,  # noqa: A002  it is one
        key: str,
        body: msgspec.Struct,
        *,
        digest: str = "",
        fresh: bool = False,
    ) -> Mail:
        """Build the mail that carries a command of this caller to an entity of its tenant.

        What was submitted names the submission as its cause.
        """
        mail = command(
            id,
            self.tenant,
            key,
            body,
            digest=digest,
            fresh=fresh,
            cause=self.submission or "",
        )
        return msgspec.structs.replace(mail, by=self.by, trace=self.trace)

    @property
    def role(self) -> Role:
        """What the caller may decide on: all tenants, or one."""
        return "operator" if self.tenant == PLATFORM else "admin"


def caller_of(template: str, delivery: Delivery) -> Caller:
    """Return who sent a request, by its subject and headers."""
    tokens = parse(template, delivery.subject) or {}
    headers = delivery.headers or {}
    return Caller(
        tenant=tokens.get("tenant", ""),
        submission=_submission(headers.get(SUBMISSION)),
        trace=headers.get("traceparent"),
        reply=delivery.reply,
    )


def _submission(given: str | None) -> str | None:
    """Return the id that a request's header gives it, as its body could."""
    return given if given is not None and is_token(given) else None

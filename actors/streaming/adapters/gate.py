"""What passes between an agent and its models: searched, judged, joined, and accounted for."""

from actors.streaming.adapters.moderation import Moderator
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.switchboard import Switchboard
from actors.streaming.core.charging import Judged
from actors.streaming.core.deltas import Delta
from actors.streaming.core.faults import ProviderFaultError
from actors.streaming.core.outlet import Outlet, blocked_by, merged
from actors.streaming.core.resilience.continuation import Beginning
from actors.streaming.core.safety.intake import take_in
from actors.streaming.core.safety.screen import RuleLibrary
from schemas.ids import TenantId
from schemas.llm import Answer, GenerateRequest
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.safety import Finding, Safety

_NOTHING = Safety()


class Gate:
    """The gate of one attempt, for its input once and for the output of one call after another.

    Rules come first, since they are quick and redact; what they let through is judged. On the way
    out it is the other way round, so that what has gone out is what the rules have let through.
    """

    def __init__(
        self,
        policy: Policy,
        tenant: TenantId,
        providers: Providers,
        library: RuleLibrary,
        switchboard: Switchboard,
    ) -> None:
        safety = policy.safety or _NOTHING
        self._inward = library.of(safety.rules, "input") if safety.rules else None
        outward = library.of(safety.rules, "output") if safety.rules else None
        self._outlet = Outlet(outward, continued=policy.continuation != "never")
        self._moderator = (
            Moderator(providers, tenant, safety.moderation, switchboard)
            if safety.moderation
            else None
        )
        self._taken: list[Finding] = []

    @property
    def published(self) -> bool:
        """Whether a part of the answer has gone out."""
        return self._outlet.published

    @property
    def beginning(self) -> Beginning:
        """What has gone out, where an answer may be gone on with."""
        return self._outlet.beginning

    @property
    def stopped(self) -> Problem | None:
        """Why nothing more of the answer goes out; None while it may."""
        if self._outlet.blocked is not None:
            return blocked_by(self._outlet.blocked.name, "output")
        if self._moderator is not None and self._moderator.blocked is not None:
            return blocked_by(self._moderator.blocked, "output")
        return None

    @property
    def asks(self) -> bool:
        """Whether somebody is asked about what goes out, so that ``take`` may wait."""
        return self._moderator is not None

    async def take_in(self, request: GenerateRequest) -> GenerateRequest:
        """Return the request as it may be sent.

        Raises:
            ProviderFaultError: it may not, or nobody can tell.
        """
        if self._inward is not None:
            taken = take_in(request, self._inward)
            request, self._taken = taken.request, taken.findings
            if taken.blocked is not None:
                raise ProviderFaultError(blocked_by(taken.blocked.name, "input"))
        if self._moderator is not None:
            await self._moderator.take_in(request)
            if self._moderator.blocked is not None:
                raise ProviderFaultError(blocked_by(self._moderator.blocked, "input"))
        return request

    def begin(self) -> None:
        """Another call starts. What the one before held back is forgotten with it."""
        self._outlet.begin()
        if self._moderator is not None:
            self._moderator.begin()

    async def take(self, deltas: list[Delta]) -> list[Delta]:
        """Return what may go out now of what a read has brought.

        Raises:
            ProviderFaultError: nobody can tell.
        """
        if self._moderator is not None:
            deltas = await self._moderator.take(deltas)
        return self.screened(deltas)

    def screened(self, deltas: list[Delta]) -> list[Delta]:
        """Return what the rules let out of what was judged, or need not be."""
        return self._outlet.take(deltas)

    async def finish(self) -> list[Delta]:
        """Return what was held back, at the end of a call. Raises as ``take``."""
        passed: list[Delta] = []
        if self._moderator is not None:
            passed += self._outlet.take(await self._moderator.take([], end=True))
        return passed + self._outlet.finish() if self.stopped is None else passed

    def answer(self, answer: Answer) -> Answer:
        """Return the answer of the last call as it has gone out."""
        return self._outlet.answer(answer)

    @property
    def judged(self) -> Judged | None:
        """By whom texts were judged, and what that has used; None where nothing is told."""
        moderator = self._moderator
        if moderator is None or not moderator.used.total:
            return None
        return Judged(moderator.judge, moderator.used, foreign=moderator.foreign)

    def findings(self) -> list[Finding]:
        """Say what was found so far."""
        judged = self._moderator.findings() if self._moderator is not None else []
        return merged([*self._taken, *self._outlet.findings(), *judged])

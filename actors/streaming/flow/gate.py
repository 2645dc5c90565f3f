"""What passes between an agent and its models: searched, judged, joined, and accounted for."""

from typing import TypeVar

from actors.streaming.adapters.providers import Providers
from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.safety.effort import Effort, TooCostlyError
from actors.streaming.core.safety.intake import take_in
from actors.streaming.core.safety.outlet import Outlet, blocked_by, merged, unsearched
from actors.streaming.core.safety.rules import RuleLibrary, RuleSet
from actors.streaming.core.tokens.charging import Judged
from actors.streaming.core.writing.continuation import Beginning
from actors.streaming.flow.moderation import Moderator
from actors.streaming.flow.switchboard import Switchboard
from bus.fairness.slices import Slices
from schemas.ids import TenantId
from schemas.llm import Answer, GenerateRequest
from schemas.patterns import PatternError
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.safety import Finding, Safety, SafetyPlace
from schemas.steps import Steps

_NOTHING = Safety()
_TOO_COSTLY = "the texts take too long to search"


T = TypeVar("T")


class Gate:
    """The gate of one attempt, for its input once and for the output of one call after another.

    Rules come first, since they are quick and redact; what they let through is judged. On the way
    out it is the other way round, so that what has gone out is what the rules have let through.
    What takes long is done in ``slices``. A text that cannot be searched counts as blocked.
    """

    def __init__(
        self,
        policy: Policy,
        tenant: TenantId,
        providers: Providers,
        library: RuleLibrary,
        switchboard: Switchboard,
        slices: Slices,
    ) -> None:
        safety = policy.safety or _NOTHING
        self._tenant = tenant
        self._rules = safety.rules
        self._library = library
        self._slices = slices
        self._effort = Effort()
        self._continued = policy.continuation != "never"
        self._outlet = Outlet(continued=self._continued)
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
        """Return the request as it may be sent. Comes before everything else.

        Raises:
            ProviderFaultError: it may not, or nobody can tell.
        """
        if self._rules:
            inward, outward = await self._compiled("input"), await self._compiled("output")
            self._outlet = Outlet(outward, continued=self._continued, effort=self._effort)
            taken = await self._searched(take_in(request, inward, self._effort))
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
        return await self.rest_of(self.screened(deltas))

    def screened(self, deltas: list[Delta]) -> list[Delta] | Steps[list[Delta]]:
        """Return what the rules let out of what was judged, or need not be.

        Where that takes long it is only begun: ``rest_of`` does the rest. Raises as ``take``.
        """
        try:
            return self._outlet.take(deltas)
        except TooCostlyError:
            raise _unsearched(_TOO_COSTLY) from None

    async def rest_of(self, passed: list[Delta] | Steps[list[Delta]]) -> list[Delta]:
        """Return what ``screened`` has only begun to search. Raises as ``take``."""
        return passed if isinstance(passed, list) else await self._searched(passed)

    async def finish(self) -> list[Delta]:
        """Return what was held back, at the end of a call. Raises as ``take``."""
        passed: list[Delta] = []
        if self._moderator is not None:
            last = await self._moderator.take([], end=True)
            passed += await self.rest_of(self.screened(last))
        return passed + self._outlet.finish() if self.stopped is None else passed

    async def _compiled(self, place: SafetyPlace) -> RuleSet:
        try:
            return await self._searched(self._library.of(self._rules, place))
        except PatternError as error:
            raise _unsearched(f"the patterns {error}") from None

    async def _searched(self, steps: Steps[T]) -> T:
        try:
            return await self._slices.run(steps, self._tenant)
        except TooCostlyError:
            raise _unsearched(_TOO_COSTLY) from None

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


def _unsearched(reason: str) -> ProviderFaultError:
    return ProviderFaultError(unsearched(reason))

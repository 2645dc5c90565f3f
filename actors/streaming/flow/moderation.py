"""Categories judged by a provider's moderation endpoint, before the provider and on the answer.

Where the endpoint cannot be asked, a wish to block stops the call with the reason, and a wish to
flag lets it pass: what was forbidden must not slip through, and nothing more is stopped. An
endpoint that keeps failing is left alone for a while, and its rate limit is kept, as with models.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import anyio
import msgspec
import structlog

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import HttpPosting
from actors.streaming.adapters.providers import Providers
from actors.streaming.core.deltas import Delta
from actors.streaming.core.errors.faults import ProviderFaultError, fail_on, fault
from actors.streaming.core.resilience.health import HealthLine
from actors.streaming.core.resilience.routes import keyed, keys_for
from actors.streaming.core.safety.windows import TextWindow, Windows
from actors.streaming.core.tokens import estimate
from actors.streaming.flow.switchboard import CircuitQuestion, HeardCircuits, Switchboard
from bus.errors import ProblemError
from schemas import bounds
from schemas.ids import TenantId
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.safety import Finding, Moderation, SafetyPlace
from schemas.usage import Tokens, Usage

log = structlog.get_logger()

_JUDGED = frozenset({"user", "tool"})


class _Scores(msgspec.Struct):
    category_scores: dict[str, float]


class _Told(msgspec.Struct):
    prompt_tokens: Tokens


class _Judgement(msgspec.Struct):
    results: list[_Scores]
    usage: Any = None

    @property
    def used(self) -> Usage:
        """What the provider says it has used; nothing where it does not tell."""
        try:
            return Usage(input=msgspec.convert(self.usage, _Told).prompt_tokens)
        except msgspec.ValidationError:
            return Usage()


def _not_judged(problem: Problem) -> Problem:
    """Say that the call waits for its judge, and not for its model."""
    return Problem(
        code=problem.code,
        message=f"The text could not be judged. {problem.message}",
        field="policy.safety.moderation",
        retryable=problem.retryable,
        retry_after=problem.retry_after,
        details=problem.details,
    )


class Moderator:
    """Judges the texts of one attempt as its agent wishes."""

    def __init__(
        self,
        providers: Providers,
        tenant: TenantId,
        wish: Moderation,
        switchboard: Switchboard,
        *,
        patience: float = 10.0,
    ) -> None:
        self._providers = providers
        self._tenant = tenant
        self._switchboard = switchboard
        self._wish = wish
        self._patience = patience
        self._counts: Counter[tuple[str, SafetyPlace]] = Counter()
        self._windows = Windows(wish.window)
        self.blocked: str | None = None
        """The rule that has stopped the text."""
        self.judge = OpenAI(model=wish.model, base_url=wish.base_url, secret=wish.secret)
        self.used = Usage()
        """What the judge says it has used for all texts."""
        self.foreign = False
        """Whether no secret of the operator went to the judge."""

    def findings(self) -> list[Finding]:
        """Say what was found so far."""
        return [
            Finding(rule=rule, outcome=self._wish.outcome, place=place, count=count)
            for (rule, place), count in self._counts.items()
        ]

    async def take_in(self, request: GenerateRequest) -> None:
        """Judge what users and tools say.

        Raises:
            ProviderFaultError: it could not be judged.
        """
        texts = [message.text for message in request.messages if message.role in _JUDGED]
        texts = [text for text in texts if text]
        if "input" in self._wish.places and texts:
            await self._judge(texts, "input")

    def begin(self) -> None:
        """Another call starts; what the one before held back is forgotten with it."""
        self._windows = Windows(self._wish.window)

    async def take(self, deltas: list[Delta], *, end: bool = False) -> list[Delta]:
        """Return what of an answer may go on, up to what is forbidden.

        Raises:
            ProviderFaultError: it could not be judged.
        """
        if "output" not in self._wish.places:
            return deltas
        windows = self._windows.feed(deltas)
        return await self._pass(windows + (self._windows.finish() if end else []))

    async def _pass(self, windows: Iterable[TextWindow]) -> list[Delta]:
        passed: list[Delta] = []
        for window in windows:
            if self.blocked is None:
                await self._judge([window.context + window.text], "output")
            if self.blocked is None:
                passed += window.deltas
        return passed

    async def _judge(self, texts: Sequence[str], place: SafetyPlace) -> None:
        try:
            judgement = await self._ask(texts)
        except ProviderFaultError as error:
            if self._wish.outcome == "blocked":
                raise ProviderFaultError(_not_judged(error.problem)) from None
            log.warning("moderation.unavailable", code=error.problem.code)
            return
        self.used += judgement.used
        for scores in judgement.results:
            for category, limit in self._wish.categories.items():
                if scores.category_scores.get(category, 0.0) >= limit:
                    self._found(f"moderation.{category}", place)

    def _found(self, rule: str, place: SafetyPlace) -> None:
        self._counts[rule, place] += 1
        if self._wish.outcome == "blocked":
            self.blocked = self.blocked or rule

    async def _ask(self, texts: Sequence[str]) -> _Judgement:
        openai = self._providers[OpenAI]
        if not isinstance(openai, HttpProvider):
            raise fault("validation", "There is nobody to moderate.", retryable=False)
        found: list[_Judgement] = []

        async def put(line: HealthLine) -> HeardCircuits:
            posting = self._posting(openai, line.key)
            self.foreign = posting.foreign
            try:
                found.append(await self._put(posting, texts))
            except (ProviderFaultError, ProblemError) as error:
                return HeardCircuits(error.problem, posting.headers)
            return HeardCircuits(None, posting.headers)

        problem = await self._switchboard.ask(
            CircuitQuestion(
                health=self._switchboard.endpoints.of(
                    self.judge, self._tenant, anyio.current_time()
                ),
                keys=keys_for(self.judge, ()),
                put=put,
                tokens=lambda: sum(map(estimate.tokens, texts)),
            )
        )
        if problem is not None:
            raise ProviderFaultError(problem)
        return found[0]

    def _posting(self, openai: HttpProvider, key: str | None) -> HttpPosting:
        context = CallContext(self._tenant, attempt=1)
        return HttpPosting(openai, keyed(self.judge, key), context, patience=self._patience)

    async def _put(self, posting: HttpPosting, texts: Sequence[str]) -> _Judgement:
        body = {"model": self._wish.model, "input": list(texts)}
        answer = await posting.answer("moderations", body)
        try:
            return bounds.decode(answer, type=_Judgement)
        except (msgspec.DecodeError, RecursionError):
            fail_on(answer)
            raise fault("provider_error", "The provider sent no judgement.") from None

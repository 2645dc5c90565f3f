"""What calls of every kind share: with which key, and when, an endpoint is called.

A key that was refused rests, one whose rate limit is used up is waited for a moment, and an
endpoint that keeps failing is left alone. What is asked there is the caller's business.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
import structlog

from actors.streaming.core.resilience.health import Endpoints, Health, HealthLine
from actors.streaming.core.resilience.keys import concerns_the_key
from bus.tasks import loop_time
from schemas.problems import Problem

log = structlog.get_logger()

Key = str | None
"""The name of a secret; None where a call goes without one."""


class HeardCircuits(NamedTuple):
    """How a call has ended: in which problem, if any, and with which headers of the provider."""

    problem: Problem | None
    headers: Mapping[str, str]


def _note_nothing(_key: Key, problem: Problem) -> Problem:
    return problem


def _never() -> bool:
    return False


async def _wait_untold(_code: str, _seconds: float) -> None:
    return


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitQuestion:
    """What is asked of one endpoint, with one of its ``keys``.

    ``put`` makes one call. ``tokens`` says what that may count against a rate limit. ``note``
    is told of calls that are not made, ``waiting`` of waits: why, and how many seconds. ``began``
    says whether a part of the answer is out, after
    which no other key is tried. The ``last`` way to an answer is worth waiting for.
    """

    health: Health
    keys: Sequence[Key]
    put: Callable[[HealthLine], Awaitable[HeardCircuits]]
    tokens: Callable[[], int]
    note: Callable[[Key, Problem], Problem] = _note_nothing
    waiting: Callable[[str, float], Awaitable[None]] = _wait_untold
    began: Callable[[], bool] = _never
    last: bool = True


@dataclass(frozen=True, slots=True)
class Switchboard:
    """Puts questions to the endpoints of a process, and remembers how these fare.

    ``patience`` is how many seconds a rate limit is waited for.
    """

    patience: float = 5.0
    endpoints: Endpoints = field(default_factory=Endpoints)

    async def ask(self, question: CircuitQuestion) -> Problem | None:
        """Ask with one key after another, where it is the key that is refused.

        Returns what went wrong, None where the question was answered. Where one key is only limited
        and another is refused for good, the limit counts: there will be an answer once it is over.
        """
        health, keys = question.health, question.keys
        problem = health.refusal(keys, loop_time())
        if problem is not None and question.last and self._is_brief(problem):
            await question.waiting(problem.code, problem.retry_after or 0)
            await anyio.sleep(problem.retry_after or 0)
            problem = health.refusal(keys, loop_time())
        if problem is not None:
            return question.note(None, problem)
        tokens = question.tokens() if health.limited else 0
        left = deque(health.keys(keys, tokens, loop_time()))
        passing: Problem | None = None
        while left:
            problem = await self._with_key(left.popleft(), question, tokens)
            if problem is None or not concerns_the_key(problem) or question.began():
                return problem
            passing = problem if problem.retryable else passing
        return passing or problem

    def _is_brief(self, problem: Problem) -> bool:
        """Say whether a refusal passes soon: to wait is better than to give up on it."""
        return problem.retryable and (problem.retry_after or 0) <= self.patience

    async def _with_key(self, key: Key, question: CircuitQuestion, tokens: int) -> Problem | None:
        """Ask when the key's rate limit and the circuit let the call through."""
        wait = question.health.wait(key, tokens, loop_time())
        if wait > self.patience:
            return question.note(key, _at_the_limit(wait))
        if wait:
            await question.waiting("rate_limited", wait)
            await anyio.sleep(wait)
        line = question.health.admit(key, tokens, loop_time())
        if isinstance(line, Problem):
            return question.note(key, line)
        began, ended = loop_time(), False
        try:
            heard = await question.put(line)
            ended = True
        finally:
            if not ended:
                line.left()
        line.ended(heard.problem, heard.headers, loop_time())
        if heard.problem is not None:
            _log_failed(question.health.name, key, heard.problem, loop_time() - began)
        return heard.problem


def _log_failed(endpoint: str, key: Key, problem: Problem, seconds: float) -> None:
    """Log a call that has failed; the task's context names the execution, attempt and trace."""
    log.warning(
        "call.failed",
        endpoint=endpoint,
        key=key,
        code=problem.code,
        status=problem.details.get("status"),
        provider_code=problem.details.get("provider_code"),
        reason=problem.message,
        retryable=problem.retryable,
        retry_after=problem.retry_after,
        ms=round(1000 * seconds),
    )


def _at_the_limit(wait: float) -> Problem:
    return Problem(
        code="rate_limited",
        message="The key's rate limit is used up.",
        retryable=True,
        retry_after=wait,
    )

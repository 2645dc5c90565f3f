"""The scripted provider's plan for one call: which words, how it ends, what it counts.

Which response a call plays: the responses of a script in turn, as the caller counts them. Which
failure: the one whose ``call`` is the attempt's number less one, so that a failure at call 0 fails
the first attempt of every step and leaves its second attempt alone, whatever process it runs in.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from schemas.llm import Answer, FinishReason, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted, ScriptedCalls, ScriptedFailure
from schemas.usage import Quality, Usage

_WORD = re.compile(r"\s*\S+(?:\s+\Z)?|\s+")

_MESSAGES = {
    "provider_error": "The provider failed, as scripted.",
    "provider_overloaded": "The provider is overloaded, as scripted.",
    "rate_limited": "The provider limits the rate of requests, as scripted.",
    "unauthorized": "The provider does not accept the key, as scripted.",
    "timeout": "The provider timed out, as scripted.",
}


class ScriptPlan(NamedTuple):
    """What a call plays: ``words``, whose concatenation is the answer, then ``failure`` if any.

    After the words come the ``calls`` of tools.
    """

    words: tuple[str, ...]
    finish_reason: FinishReason
    failure: Problem | None
    calls: tuple[ToolCall, ...] = ()


def words(text: str) -> tuple[str, ...]:
    """Cut a text before its spaces. The pieces joined are the text, spaces and all."""
    return tuple(_WORD.findall(text))


def plan(request: GenerateRequest, script: Scripted, *, turn: int, attempt: int) -> ScriptPlan:
    """Decide what the call of this turn and attempt plays.

    A word counts as a token: ``max_tokens`` cuts the answer, which then ends for its length. A call
    of a tool counts as one as well.
    """
    if any(isinstance(each, ScriptedCalls) for each in script.responses):
        turn = _rounds(request)
    response = script.responses[turn % len(script.responses)]
    asked = response if isinstance(response, ScriptedCalls) else None
    pieces = words(response if isinstance(response, str) else response.text)
    failure = next((fail for fail in script.failures if fail.call == attempt - 1), None)
    if failure is not None:
        return ScriptPlan(pieces[: failure.after_words], "other", _problem(failure))
    limit = request.config.max_tokens
    if limit is not None and limit < len(pieces):
        return ScriptPlan(pieces[:limit], "length", None)
    if asked is not None:
        return ScriptPlan(pieces, "tool_calls", None, tuple(_calls(asked, turn)))
    return ScriptPlan(pieces, "stop", None)


def _rounds(request: GenerateRequest) -> int:
    """Count how often tools have answered since the user spoke."""
    rounds = 0
    for message in reversed(request.messages):
        if message.role == "user":
            break
        rounds += bool(message.tool_calls)
    return rounds


def _calls(asked: ScriptedCalls, turn: int) -> Iterator[ToolCall]:
    for place, call in enumerate(asked.calls):
        given = call.arguments
        arguments = given if isinstance(given, str) else msgspec.json.encode(given).decode()
        yield ToolCall(id=f"call_{turn}_{place}", name=call.name, arguments=arguments)


def answer(request: GenerateRequest, plan: ScriptPlan) -> Answer:
    """Return the answer of a call that has played all its words."""
    return Answer(
        text="".join(plan.words),
        finish_reason=plan.finish_reason,
        usage=usage(request, len(plan.words) + len(plan.calls), "exact"),
        tool_calls=list(plan.calls),
        model_served=request.provider.model,
    )


def usage(request: GenerateRequest, played: int, quality: Quality) -> Usage:
    """Count a token a word, in the messages and in what was played."""
    heard = sum(len(message.text.split()) for message in request.messages)
    return Usage(input=heard, output=played, quality=quality)


def _problem(failure: ScriptedFailure) -> Problem:
    return Problem(
        code=failure.code,
        message=_MESSAGES[failure.code],
        retryable=failure.code != "unauthorized",
        retry_after=failure.retry_after,
    )

"""What a provider is asked in a conformance check, and how its answers are judged. Pure.

Some cases every endpoint must pass: an answer that is whole, in pieces, counted, cut at its limit.
The others depend on what the model can do; where it cannot, it is lacking, which is no fault.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from actors.streaming.core.deltas import Delta, TextDelta
from schemas import bounds
from schemas.llm import (
    Answer,
    ChatMessage,
    GenerateRequest,
    JsonSchemaFormat,
    ModelConfig,
    ToolCall,
    ToolDefinition,
)
from schemas.problems import Problem
from schemas.providers import Provider

Verdict = Literal["ok", "lacking", "failed"]

_USUAL_LIMIT = 2_000
_LONGEST_TOKEN = 24
"""Characters that one token stands for, at the very most, on average."""

CLOSE_SECONDS = 1.0
"""A stream ends within this time of the last piece of its answer."""

_WORDS_FOR_CALLS = frozenset({"tool_calls", "tool_use", "tool_call", "function_call"})

PIECES = 5
LONG_CHARACTERS = 100
"""A long answer comes in at least so many pieces, and has so many characters."""


class RunPolicy(NamedTuple):
    """How all is asked: the temperature, and the most tokens of an answer; None changes nothing.

    With fewer tokens a slow model is asked sooner; one that thinks may need all it is given.
    """

    temperature: float | None = None
    max_tokens: int | None = None

    def config(self, config: ModelConfig) -> ModelConfig:
        """Return a case's settings under this policy."""
        limits = (config.max_tokens, self.max_tokens)
        least = min((limit for limit in limits if limit is not None), default=None)
        return msgspec.structs.replace(config, temperature=self.temperature, max_tokens=least)


AS_IT_IS = RunPolicy()


class Seen(NamedTuple):
    """An answer, and the pieces in which it came.

    ``closing`` is the seconds from the last piece to the end of the stream.
    """

    answer: Answer
    deltas: list[Delta]
    closing: float = 0.0


class CaseFinding(NamedTuple):
    """How a case went."""

    case: str
    verdict: Verdict
    detail: str


class Case(NamedTuple):
    """One question. ``judge`` says what is wrong with the answer, None if nothing is.

    ``broken`` says what is wrong that no lack of the model's excuses; ``shown`` what was found.
    """

    name: str
    messages: tuple[ChatMessage, ...]
    judge: Callable[[Seen], str | None]
    config: ModelConfig = ModelConfig(max_tokens=2_000)
    tools: tuple[ToolDefinition, ...] = ()
    optional: bool = False
    broken: Callable[[Seen], str | None] | None = None
    shown: Callable[[Seen], str] | None = None

    def request(self, provider: Provider, policy: RunPolicy = AS_IT_IS) -> GenerateRequest:
        """Return the request that asks it."""
        return GenerateRequest(
            provider=provider,
            messages=list(self.messages),
            config=policy.config(self.config),
            tools=list(self.tools),
        )


def judged(case: Case, seen: Seen) -> CaseFinding:
    """Judge an answer, and that it is what its pieces are."""
    told = "".join(delta.text for delta in seen.deltas if isinstance(delta, TextDelta))
    if told != seen.answer.text:
        return CaseFinding(case.name, "failed", "the pieces of the answer are not the answer")
    broken = case.broken(seen) if case.broken else None
    if broken is not None:
        return CaseFinding(case.name, "failed", broken)
    wrong = case.judge(seen)
    if wrong is None:
        return CaseFinding(case.name, "ok", (case.shown or _shown)(seen))
    return CaseFinding(case.name, "lacking" if case.optional else "failed", wrong)


_OF_A_KEY: dict[str, Verdict] = {"unauthorized": "ok", "forbidden": "lacking"}
"""What we forbid ourselves: no key goes unencrypted to another machine, so none can be tried."""


def refused(case: Case, problem: Problem) -> CaseFinding:
    """Judge a failure: refusing what a model cannot do is no fault, all else is."""
    unable = problem.field is not None and problem.field.startswith("config.")
    declined = case.optional and problem.code in {"provider_error", "validation"}
    lacking = unable or (declined and not problem.retryable)
    return CaseFinding(case.name, "lacking" if lacking else "failed", _said(problem))


def refused_key(problem: Problem | None) -> CaseFinding:
    """Judge what a wrong key leads to; None is an answer."""
    if problem is None:
        return CaseFinding("bad key", "lacking", "the server asks for no key")
    is_providers = "status" in problem.details
    verdict = "ok" if is_providers and problem.code in _OF_A_KEY else _OF_A_KEY.get(problem.code)
    return CaseFinding("bad key", verdict or "failed", _said(problem))


def _said(problem: Problem) -> str:
    return f"{problem.code}: {problem.message}"


def _shown(seen: Seen) -> str:
    usage = seen.answer.usage
    return f"{len(seen.deltas)} pieces, {usage.prompt} + {usage.output} tokens"


def _shown_end(seen: Seen) -> str:
    word = seen.answer.provider_finish_reason or "no word"
    return f"{word} means {seen.answer.finish_reason}, {seen.closing * 1000:.0f} ms to the end"


def _shown_calls(seen: Seen) -> str:
    count = len(seen.answer.tool_calls)
    return f"{count} {'call' if count == 1 else 'calls'}, {_shown_end(seen)}"


# The judges


def _answered(seen: Seen) -> str | None:
    if not seen.answer.text.strip():
        return "there is no text"
    ended = seen.answer.finish_reason
    return None if ended in {"stop", "length"} else f"ended by {ended}"


def _counted(seen: Seen) -> str | None:
    usage = seen.answer.usage
    if usage.quality != "exact":
        return "the provider tells no usage"
    return None if usage.prompt and usage.output else "the usage is empty"


def _plausible(seen: Seen) -> str | None:
    """Say which count cannot be: no token is longer than a word of some length."""
    usage = seen.answer.usage
    if usage.quality != "exact":
        return "the provider tells no usage"
    least = len(seen.answer.text) // _LONGEST_TOKEN
    if usage.output < max(least, 1):
        return f"{usage.output} tokens for {len(seen.answer.text)} characters of answer"
    if usage.prompt * _LONGEST_TOKEN < len(_COUNT[0].text):
        return f"{usage.prompt} tokens for {len(_COUNT[0].text)} characters of prompt"
    if usage.output > _USUAL_LIMIT:
        return f"{usage.output} tokens, where {_USUAL_LIMIT} were the limit"
    return None


def _at_once(seen: Seen) -> str | None:
    if seen.answer.finish_reason == "other":
        return f"the word for the end is unknown: {_shown_end(seen)}"
    if seen.closing > CLOSE_SECONDS:
        return f"the stream stays open for {seen.closing:.1f} s behind the answer"
    return None


def _at_length(seen: Seen) -> str | None:
    length = len(seen.answer.text)
    if length < LONG_CHARACTERS:
        return f"it has {length} characters"
    if len(seen.deltas) < PIECES:
        return f"it came in {len(seen.deltas)} pieces"
    return _answered(seen)


def _cut(seen: Seen) -> str | None:
    return (
        None if seen.answer.finish_reason == "length" else f"ended by {seen.answer.finish_reason}"
    )


def _stopped(seen: Seen) -> str | None:
    return "the answer goes on behind its stop" if "7" in seen.answer.text else None


def _called(seen: Seen) -> str | None:
    if not seen.answer.tool_calls:
        return "the model called no tool"
    return _city(seen.answer.tool_calls[0])


def _fragmented(seen: Seen) -> str | None:
    """Say what was put together wrongly of calls that have come."""
    calls, word = seen.answer.tool_calls, (seen.answer.provider_finish_reason or "").lower()
    if not calls and word in _WORDS_FOR_CALLS:
        return f"the stream ends by {word}, and there is no call"
    if len({call.id for call in calls if call.id}) < len(calls):
        return "two calls have one id, or one has none"
    for call in calls:
        if call.name != _WEATHER.name:
            return "a call is of a tool that was not offered"
        if wrong := _city(call):
            return wrong
    return None


def _mixed(seen: Seen) -> str | None:
    """Say whether arguments have got into the text."""
    return "arguments of a call stand in the text" if '"city"' in seen.answer.text else None


def _spoke_and_called(seen: Seen) -> str | None:
    if not seen.answer.tool_calls:
        return "the model called no tool"
    return None if seen.answer.text.strip() else "the model said nothing beside its call"


def _called_twice(seen: Seen) -> str | None:
    calls = seen.answer.tool_calls
    if len({call.id for call in calls}) < len(calls):
        return "two calls have one id"
    return None if len(calls) > 1 else f"the model made {len(calls)} calls"


def _city(call: ToolCall) -> str | None:
    try:
        arguments: Any = bounds.decode(call.arguments)
    except msgspec.DecodeError:
        return "the arguments are no JSON"
    return None if isinstance(arguments, dict) and "city" in arguments else "the city is missing"


def _thought(seen: Seen) -> str | None:
    thought = seen.answer.reasoning or seen.answer.usage.reasoning
    return None if thought else "the model told no reasoning"


def _in_form(seen: Seen) -> str | None:
    try:
        bounds.decode(seen.answer.text, type=_Review)
    except msgspec.DecodeError:
        return "the answer does not keep to the schema"
    return None


class _Review(msgspec.Struct, forbid_unknown_fields=True):
    score: int


# The battery


def _user(text: str) -> ChatMessage:
    return ChatMessage(role="user", content=text)


_CAPITAL = (_user("What is the capital of France? Answer in one short sentence."),)
_COUNT = (_user("Count from 1 to 60, separated by spaces. Write nothing else."),)
_WEATHER = ToolDefinition(
    name="get_weather",
    description="The weather in a city, now.",
    parameters={
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
)
_ASKED = _user("What is the weather in Oslo now? Use the tool.")
_CALL = ToolCall(id="call_0123456789", name="get_weather", arguments='{"city":"Oslo"}')
_REVIEW = JsonSchemaFormat(
    name="review",
    schema={
        "type": "object",
        "properties": {"score": {"type": "integer", "enum": [1, 2, 3, 4, 5]}},
        "required": ["score"],
        "additionalProperties": False,
    },
)

LONG = Case("long output", _COUNT, _at_length)

CASES: tuple[Case, ...] = (
    Case("text", _CAPITAL, _answered),
    Case("usage", _CAPITAL, _counted),
    LONG,
    Case("counts", _COUNT, _plausible),
    Case("ending", _CAPITAL, _at_once, shown=_shown_end),
    Case("limit", _COUNT, _cut, ModelConfig(max_tokens=16), shown=_shown_end),
    Case("one token", _COUNT, _cut, ModelConfig(max_tokens=1), shown=_shown_end),
    Case(
        "stop",
        (_user("Count from 1 to 9, separated by spaces. Write nothing else."),),
        _stopped,
        ModelConfig(max_tokens=2_000, stop_sequences=["7"]),
    ),
    Case(
        "tools",
        (_ASKED,),
        _called,
        ModelConfig(max_tokens=2_000, tool_choice="required"),
        (_WEATHER,),
        optional=True,
    ),
    Case(
        "fragments",
        (_ASKED,),
        _called,
        ModelConfig(max_tokens=2_000),
        (_WEATHER,),
        optional=True,
        broken=_fragmented,
        shown=_shown_calls,
    ),
    Case(
        "text and tools",
        (_user("Say in one sentence what you will do, then use the tool for Oslo."),),
        _spoke_and_called,
        ModelConfig(max_tokens=2_000),
        (_WEATHER,),
        optional=True,
        broken=_mixed,
        shown=_shown_calls,
    ),
    Case(
        "parallel tools",
        (_user("What is the weather in Oslo, and what in Rome? Ask for both at once."),),
        _called_twice,
        ModelConfig(max_tokens=2_000),
        (_WEATHER,),
        optional=True,
    ),
    Case(
        "tool result",
        (
            _ASKED,
            ChatMessage(role="assistant", content="", tool_calls=[_CALL]),
            ChatMessage(role="tool", content="Rain, 4 degrees.", tool_call_id=_CALL.id),
        ),
        _answered,
        ModelConfig(max_tokens=2_000),
        (_WEATHER,),
        optional=True,
    ),
    Case(
        "thinking",
        (_user("Is 391 a prime number? Think, then answer yes or no."),),
        _thought,
        ModelConfig(max_tokens=4_000, reasoning_effort="low"),
        optional=True,
    ),
    Case(
        "schema",
        (_user("Rate this review from 1 to 5 as JSON with an integer `score`: I love it."),),
        _in_form,
        ModelConfig(max_tokens=2_000, response_format=_REVIEW),
        optional=True,
    ),
)
"""What is asked of every endpoint, in this order."""

NAMES: tuple[str, ...] = (
    *(case.name for case in CASES),
    *("unstreamed", "cancel", "bad key", "bad model", "embeddings", "dimensions"),
)
"""All that is asked; the last ones are judged in ``probes``."""

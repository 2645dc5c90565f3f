"""What a language model is asked and what it answers, whichever provider serves it."""

from typing import Annotated, Any, Literal

import msgspec

from schemas.base import Internal, StrictValue, Value
from schemas.ids import Token
from schemas.usage import Usage

BaseUrl = Annotated[str, msgspec.Meta(pattern=r"^https?://[^\s/?#@]+[^\s?#]*$", max_length=2048)]
ModelName = Annotated[str, msgspec.Meta(min_length=1, max_length=256)]


class _Provider(StrictValue):
    """What every provider has: a model and, except the scripted one, a named secret."""

    model: ModelName


class OpenAI(_Provider, tag="openai"):
    """OpenAI Chat Completions, or a server of the same wire format at ``base_url``."""

    base_url: BaseUrl | None = None
    secret: Token | None = None


class Groq(_Provider, tag="groq"):
    """Groq: the OpenAI wire format with its own usage field."""

    base_url: BaseUrl | None = None
    secret: Token | None = None


class Custom(_Provider, tag="custom"):
    """Any OpenAI-compatible server; ``headers`` must not hold credentials, ``secret`` names one."""

    base_url: BaseUrl
    headers: dict[str, Annotated[str, msgspec.Meta(max_length=1024)]] = {}
    secret: Token | None = None


class ScriptedFailure(StrictValue):
    """A failure played at the given call (from 0), after ``after_words`` words of the response."""

    call: Annotated[int, msgspec.Meta(ge=0)]
    code: Literal[
        "provider_error", "provider_overloaded", "rate_limited", "unauthorized", "timeout"
    ]
    after_words: Annotated[int, msgspec.Meta(ge=0)] = 0
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=3600)] | None = None


class Scripted(_Provider, tag="scripted"):
    """Plays ``responses`` in turn, word by word, ``delay_ms`` apart: for tests and trial."""

    model: ModelName = "scripted"
    responses: Annotated[list[str], msgspec.Meta(min_length=1, max_length=1000)]
    delay_ms: Annotated[int, msgspec.Meta(ge=0, le=60_000)] = 100
    failures: list[ScriptedFailure] = []


Provider = OpenAI | Groq | Custom | Scripted


class JsonSchemaFormat(StrictValue, tag="json_schema"):
    """The answer must be JSON that the schema accepts."""

    schema: dict[str, Any]
    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = "answer"
    strict: bool = True


class JsonObjectFormat(StrictValue, tag="json_object"):
    """The answer must be some JSON object."""


ResponseFormat = JsonSchemaFormat | JsonObjectFormat


class ModelConfig(StrictValue):
    """Sampling and length settings; None leaves the provider's default in force."""

    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)] | None = None
    presence_penalty: Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)] | None = None
    stop_sequences: Annotated[list[str], msgspec.Meta(max_length=16)] = []
    seed: int | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )
    response_format: ResponseFormat | None = None


class ToolDefinition(StrictValue):
    """A tool as JSON: ``parameters`` is the JSON Schema of its arguments."""

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})


class ToolCall(Value):
    """A call the model asks for; ``arguments`` is the raw JSON text, malformed or not."""

    id: str
    name: str
    arguments: str


Role = Literal["system", "user", "assistant", "tool"]


class ChatMessage(Value, omit_defaults=True):
    """One message of a conversation."""

    role: Role
    content: str
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None


FinishReason = Literal["stop", "length", "tool_calls", "content_filter", "refusal", "other"]


class GenerateRequest(Internal):
    """One call of a model, ready to be sent: prompts rendered, limits set, no secret inside."""

    provider: Provider
    messages: list[ChatMessage]
    config: ModelConfig = msgspec.field(default_factory=ModelConfig)
    tools: list[ToolDefinition] = []


class Answer(Internal):
    """What the model answered, whole. ``model_served`` is the model the provider says it ran."""

    text: str
    finish_reason: FinishReason
    usage: Usage
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    model_served: str | None = None

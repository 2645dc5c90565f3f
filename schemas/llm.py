"""What a language model is asked and what it answers, whichever provider serves it."""

from typing import Annotated, Any, Literal

import msgspec

from schemas.base import Internal, StrictValue, Value
from schemas.bodies import BodyReference
from schemas.ids import END
from schemas.providers import Provider
from schemas.usage import Usage

Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}" + END,
        description="1 to 64 letters, digits, hyphens or underscores",
    ),
]


class JsonSchemaFormat(StrictValue, tag="json_schema"):
    """The answer must be JSON that the schema accepts."""

    schema: dict[str, Any]
    name: Name = "answer"
    strict: bool = True


class JsonObjectFormat(StrictValue, tag="json_object"):
    """The answer must be some JSON object."""


ResponseFormat = JsonSchemaFormat | JsonObjectFormat


class NamedTool(StrictValue):
    """The tool that the model must call."""

    name: Name


Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
CacheTime = Literal["5m", "1h"]
"""How long a provider keeps a prompt it is told to cache; those that know one time take that."""


ServiceTier = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z0-9_-]{1,32}" + END,
        description="1 to 32 small letters, digits, hyphens or underscores, such as flex",
    ),
]


class ModelConfig(StrictValue, omit_defaults=True):
    """Sampling and length settings; None leaves the provider's default in force.

    ``reasoning_budget`` is in tokens; ``reasoning_summary`` asks for reasoning to be told.
    ``cache`` lets the provider keep the prompt. What the model is known to refuse fails the call,
    or with ``unsupported`` set to ``drop`` is left out, and the answer says so. ``extra`` are
    fields of the provider's own request, sent as they are.
    """

    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None = None
    frequency_penalty: Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)] | None = None
    presence_penalty: Annotated[float, msgspec.Meta(ge=-2.0, le=2.0)] | None = None
    stop_sequences: Annotated[list[str], msgspec.Meta(max_length=16)] = []
    seed: int | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    top_k: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None
    reasoning_budget: Annotated[int, msgspec.Meta(ge=0, le=10_000_000)] | None = None
    reasoning_summary: Literal["none", "auto", "concise", "detailed"] | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    tool_choice: Literal["auto", "required", "none"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    service_tier: ServiceTier | None = None
    cache: CacheTime | None = None
    unsupported: Literal["refuse", "drop"] = "refuse"
    extra: dict[str, Any] = {}


class ToolDefinition(StrictValue):
    """A tool as JSON: ``parameters`` is the JSON Schema of its arguments."""

    name: Name
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})


class ToolCall(Value):
    """A call the model asks for; ``arguments`` is the raw JSON text, malformed or not."""

    id: str
    name: str
    arguments: str


Role = Literal["system", "user", "assistant", "tool"]


class TextPart(Value, tag="text"):
    """A text within a message."""

    text: str


class ImageUrl(Value, tag="image_url", omit_defaults=True):
    """An image that the provider fetches itself."""

    url: Annotated[
        str,
        msgspec.Meta(
            pattern=r"^https?://[^\s]+" + END, max_length=8192, description="an http or https URL"
        ),
    ]
    detail: Literal["auto", "low", "high"] | None = None


class ImageData(Value, tag="image", omit_defaults=True):
    """An image within the message, in base64."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str
    detail: Literal["auto", "low", "high"] | None = None


ContentPart = TextPart | ImageUrl | ImageData

Wire = Literal[
    "openai_chat", "openai_responses", "anthropic", "converse", "titan", "gemini", "ollama"
]
"""The wire formats, named where something can only be read by the one that wrote it."""


class ProviderBlock(Value, omit_defaults=True):
    """A piece of an assistant's turn that its provider must get back unchanged, in its place.

    Signed thinking, redacted thinking, encrypted reasoning items, thought signatures, calls of the
    provider's own tools. ``raw`` is the provider's JSON, of the given wire format; other formats
    pass it over. It stands after so many characters of the turn's text and so many tool calls.
    """

    wire: Wire
    raw: dict[str, Any]
    after_text: int = 0
    after_calls: int = 0


class ChatMessage(Value, omit_defaults=True):
    """One message of a conversation.

    ``blocks`` are an assistant's, as its answer brought them. ``is_error`` says of a tool's result
    that the tool failed. ``cache`` marks the end of what the provider is to keep.
    """

    role: Role
    content: str | list[ContentPart]
    tool_calls: list[ToolCall] = []
    tool_call_id: str | None = None
    blocks: list[ProviderBlock] = []
    is_error: bool = False
    cache: CacheTime | None = None

    @property
    def text(self) -> str:
        """The texts of the message, without images."""
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content if isinstance(part, TextPart))

    @property
    def parts(self) -> list[ContentPart]:
        """The content as parts: a plain text is one, and an empty one none."""
        if isinstance(self.content, str):
            return [TextPart(text=self.content)] if self.content else []
        return self.content


FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "refusal", "pause", "other"
]
"""``pause``: the provider wants the turn back as it stands, to go on with it."""


class GenerateRequest(Internal, tag="generate"):
    """One call of a model, ready to be sent: prompts rendered, limits set, no secret inside.

    With ``batch`` it goes by the provider's batch API.
    """

    provider: Provider
    messages: list[ChatMessage]
    config: ModelConfig = msgspec.field(default_factory=ModelConfig)
    tools: list[ToolDefinition] = []
    batch: bool = False


class EmbedRequest(Internal, tag="embed"):
    """Texts that a model is to turn into vectors, ready to be sent.

    ``dimensions`` shortens the vectors. With ``dimensions_strict`` vectors of another size fail.
    """

    provider: Provider
    texts: list[str]
    dimensions: int | None = None
    dimensions_strict: bool = False


class ToolRequest(Internal, tag="tool"):
    """One call of a tool, by the name under which it is offered; ``arguments`` is JSON."""

    name: Name
    arguments: str


ModelRequest = GenerateRequest | EmbedRequest | ToolRequest
"""What an execution asks of a model, or of a tool without one."""

Kind = Literal["generate", "embed", "tool"]
"""The tags of ``ModelRequest``: which kind of work an execution is."""


class AnswerWarning(Value):
    """Something is otherwise than asked or expected: a field, and a sentence.

    ``field`` is one of the request, or ``finish_reason`` where the provider's word for the end of
    the answer is not known.
    """

    field: str
    message: str


class StoredVectors(Value):
    """Where the vectors of an embedding lie, in the order of the texts; see ``schemas.vectors``.

    Each part holds whole vectors, as many as the others; the last may have fewer.
    """

    parts: list[BodyReference]
    count: int
    dimensions: int


class Answer(Internal):
    """What the model answered, whole. ``model_served`` is the model the provider says it ran.

    ``cached`` says that nobody was asked: an earlier answer is given again, for nothing.
    ``provider_finish_reason`` is the provider's own word for the end. ``raw_usage`` is the usage in
    the provider's words; ``side_usage`` is what other models used by the way, by model, and not
    part of ``usage``. ``blocks`` belong into the assistant's message of a next call.
    ``service_tier`` is the one the provider says it served by, which need not be the one asked for.
    The answer to an ``EmbedRequest`` has no text but ``vectors``. ``is_json``: its text was
    verified to be the JSON that ``response_format`` asks for.
    """

    text: str
    finish_reason: FinishReason
    usage: Usage
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    model_served: str | None = None
    cached: bool = False
    provider_finish_reason: str | None = None
    blocks: list[ProviderBlock] = []
    warnings: list[AnswerWarning] = []
    raw_usage: dict[str, Any] = {}
    side_usage: dict[str, Usage] = {}
    service_tier: str | None = None
    vectors: StoredVectors | None = None
    is_json: bool = False

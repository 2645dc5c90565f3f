"""Which wire format a provider speaks: where it is asked, how, and what reads the answer. Pure."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from actors.streaming.core.batches.anthropic import AnthropicBatches
from actors.streaming.core.batches.form import BatchForm
from actors.streaming.core.batches.openai import OpenAIBatches
from actors.streaming.core.google.names import model_path
from actors.streaming.core.reading.reader import Reader
from actors.streaming.core.wires.anthropic import request as anthropic
from actors.streaming.core.wires.anthropic.reader import MessagesReader
from actors.streaming.core.wires.gemini import request as gemini
from actors.streaming.core.wires.gemini.reader import GeminiReader
from actors.streaming.core.wires.ollama import request as ollama
from actors.streaming.core.wires.ollama.reader import OllamaReader
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses import request as responses
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.llm import GenerateRequest, Wire
from schemas.provider_specs import Batches, spec_of


class Spoken(NamedTuple):
    """A wire format where it is spoken: its path, how it is asked, and what reads the answer."""

    path: str
    body: Callable[[GenerateRequest], Mapping[str, Any]]
    reader: Callable[[GenerateRequest], Reader[Any]]
    accept: str = "text/event-stream"


def by_dialect(dialect: chat.Dialect) -> Spoken:
    """Return Chat Completions as a kind of server speaks it."""
    body = partial(chat.body, dialect=dialect)
    reader = partial(ChatReader, done_suffices=dialect.done_suffices)
    return Spoken("chat/completions", body, reader)


_CHAT = {name: by_dialect(dialect) for name, dialect in chat.DIALECTS.items()}
_RESPONSES = Spoken("responses", responses.body, ResponsesReader)
_OLLAMA = {
    api: Spoken(f"api/{api}", body, OllamaReader, "application/x-ndjson")
    for api, body in (("chat", ollama.chat), ("generate", ollama.generate))
}


def _gemini(provider: Any) -> Spoken:
    path = f"{model_path(provider)}:streamGenerateContent?alt=sse"
    return Spoken(path, gemini.body, GeminiReader)


def _messages(_provider: Any) -> Spoken:
    return Spoken("v1/messages", anthropic.body, MessagesReader)


_WIRES: Mapping[Wire | None, Callable[[Any], Spoken]] = {
    "openai_chat": lambda provider: _CHAT[spec_of(provider).dialect],
    "openai_responses": lambda _provider: _RESPONSES,
    "anthropic": _messages,
    "gemini": _gemini,
    "ollama": lambda provider: _OLLAMA[provider.api],
}
"""The formats that are spoken with more than one kind of server; Bedrock's are only its own."""


BATCHING: Mapping[Batches, Callable[[str], BatchForm]] = {
    "openai": OpenAIBatches,
    "anthropic": AnthropicBatches,
}
"""How batches are made, by the path of a single request."""


def spoken(provider: Any) -> Spoken:
    """Return what a provider speaks that has no endpoint of its own for it."""
    return _WIRES[spec_of(provider).wire(provider)](provider)

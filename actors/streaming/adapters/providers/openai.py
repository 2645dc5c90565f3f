"""OpenAI and the servers that speak its formats: its own, Groq's, and every compatible one."""

from functools import partial

from actors.streaming.adapters.endpoint import Address, own
from actors.streaming.adapters.http_endpoint import HttpEndpoint, Spoken
from actors.streaming.core.batches.form import BatchForm
from actors.streaming.core.batches.openai import OpenAIBatches
from actors.streaming.core.wires.openai_chat import request as chat
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from actors.streaming.core.wires.openai_responses import request as responses
from actors.streaming.core.wires.openai_responses.reader import ResponsesReader
from schemas.providers import Custom, Groq, OpenAI

_RESPONSES = Spoken("responses", responses.body, ResponsesReader)


class OpenAIEndpoint(HttpEndpoint[OpenAI | Groq | Custom]):
    """Reaches OpenAI, Groq and custom servers with a bearer key."""

    SERVES = (OpenAI, Groq, Custom)
    optional = frozenset({chat.STREAM_OPTIONS})

    def _address(self, provider: OpenAI | Groq | Custom) -> Address:
        match provider:
            case OpenAI(base_url=url, secret=secret):
                return own(self._config.urls["openai"], "openai", url, secret)
            case Groq(base_url=url, secret=secret):
                return own(self._config.urls["groq"], "groq", url, secret)
            case Custom(base_url=url, secret=secret):
                return Address(url, secret)

    def batching(self, provider: OpenAI | Groq | Custom) -> BatchForm | None:
        """See ``Endpoint.batching``."""
        if not isinstance(provider, OpenAI):
            return None
        return OpenAIBatches(f"/v1/{self._spoken(provider).path}")

    def _spoken(self, provider: OpenAI | Groq | Custom) -> Spoken:
        match provider:
            case OpenAI(api="responses") | Custom(api="responses"):
                return _RESPONSES
            case OpenAI():
                return _chat(chat.OPENAI)
            case Groq():
                return _chat(chat.GROQ)
            case Custom():
                return _chat(chat.COMPATIBLE)


def _chat(dialect: chat.Dialect) -> Spoken:
    body = partial(chat.body, dialect=dialect)
    reader = partial(ChatReader, done_suffices=dialect.done_suffices)
    return Spoken("chat/completions", body, reader)

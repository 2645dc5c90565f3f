"""Framings of Bedrock's two streaming APIs: whose events travel in messages of the event stream.

ConverseStream has one event a message. InvokeModelWithResponseStream wraps each event of a vendor's
own format once more, in base64; the last of them carries what Bedrock has counted, which is what it
bills. Either may report a failure in the place of an event. Source: the ``bedrock-runtime`` service
model.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from actors.streaming.core.aws.event_stream import EventMessage, EventStreamParser, HeaderValue
from actors.streaming.core.decoding.counts import items, members
from actors.streaming.core.errors.faults import (
    ProviderFaultError,
    error_in,
    fail_on,
    failure_in_stream,
    fault,
    named,
)
from actors.streaming.core.framing.wrapping import EitherFraming, as_event
from schemas import bounds
from schemas.sse import SseEvent, marker

METRICS = "amazon-bedrock-invocationMetrics"
"""The name of the event with Bedrock's own counts, which it bills, whatever the vendor's are."""

_NAMES_OF_FAILURES = {"exception": ":exception-type", "error": ":error-code"}


_EVENTS = frozenset(
    {
        *("messageStart", "messageStop", "metadata"),
        *("contentBlockStart", "contentBlockDelta", "contentBlockStop"),
    }
)
_MAY_FAIL = frozenset({"error", "base_resp"})
"""What says beside an event how the call fares."""


class BedrockEvent(NamedTuple):
    """An event by its type, and its JSON body."""

    kind: str
    body: bytes


class Metrics(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What Bedrock has counted of an invocation, in tokens."""

    input_token_count: Any = None
    output_token_count: Any = None
    cache_read_input_token_count: Any = None
    cache_write_input_token_count: Any = None


class _Chunk(msgspec.Struct, frozen=True, gc=False):
    """The body of a ``chunk``: one event of the vendor's."""

    bytes: bytes


class _Vendors(msgspec.Struct, frozen=True, gc=False):
    """What is read of a vendor's event here: its type, and what the last one tells besides."""

    type: Any = None
    metrics: Any = msgspec.field(name=METRICS, default=None)


_chunks = bounds.Decoder(_Chunk)
_vendors = bounds.Decoder(_Vendors)
_wrapped = bounds.Decoder(dict[str, msgspec.Raw])


class ConverseFraming(EitherFraming[BedrockEvent]):
    """Events of ConverseStream; see ``Framing``. Reported failures raise ProviderFaultError."""

    def __init__(self) -> None:
        super().__init__(_ConverseMessages(), unwrapped, is_binary=True)


class _ConverseMessages:
    def __init__(self) -> None:
        self._parser = EventStreamParser()

    def feed(self, chunk: bytes) -> Iterator[BedrockEvent]:
        """Take the next bytes and yield the events they complete."""
        return map(event_of, self._parser.feed(chunk))

    def finish(self) -> Iterator[BedrockEvent]:
        """Say that the stream has ended: half a message is nothing."""
        return iter(())


class InvokeFraming(EitherFraming[SseEvent]):
    """A vendor's own events out of an invocation's chunks, as server-sent ones would bring them.

    Before the last one comes what ``told`` makes of Bedrock's own counts, which overrule the
    vendor's. Reported failures raise ProviderFaultError.
    """

    def __init__(self, told: Callable[[Metrics], Mapping[str, Any]] | None = None) -> None:
        super().__init__(_InvokeMessages(told), as_event, is_binary=True)


class _InvokeMessages:
    def __init__(self, told: Callable[[Metrics], Mapping[str, Any]] | None) -> None:
        self._parser = EventStreamParser()
        self._told = told

    def feed(self, chunk: bytes) -> Iterator[SseEvent]:
        """Take the next bytes and yield the events they complete."""
        for message in self._parser.feed(chunk):
            event = event_of(message)
            if event.kind == "chunk":
                yield from self._unwrap(event)

    def finish(self) -> Iterator[SseEvent]:
        """Say that the stream has ended: half a message is nothing."""
        return iter(())

    def _unwrap(self, event: BedrockEvent) -> Iterator[SseEvent]:
        try:
            data = _chunks.decode(event.body).bytes
            vendors = _vendors.decode(data)
        except (msgspec.DecodeError, RecursionError):
            raise fault("provider_error", "The provider sent a chunk that is none.") from None
        metrics = members(vendors.metrics)
        if metrics and self._told is not None:
            told = self._told(msgspec.convert(metrics, Metrics))
            yield SseEvent(msgspec.json.encode(told).decode(), METRICS)
        kind = vendors.type
        name = kind if isinstance(kind, str) and kind else "message"
        yield SseEvent(data.decode("utf-8", "replace"), name)


class NovaFraming:
    """Events as ConverseStream has them, out of an invocation's chunks: Nova's own format."""

    def __init__(self) -> None:
        self._framing = InvokeFraming()

    def feed(self, chunk: bytes) -> Iterator[BedrockEvent]:
        """Take the next bytes and yield the events they complete."""
        for event in self._framing.feed(chunk):
            yield from unwrapped(event.data.encode())

    def finish(self) -> Iterator[BedrockEvent]:
        """Say that the stream has ended; yield the events of an answer that came whole."""
        for event in self._framing.finish():
            yield from unwrapped(event.data.encode())


def unwrapped(value: bytes) -> Iterator[BedrockEvent]:
    """Return the events of an object: each under its name, or those of an answer that came whole.

    Beside an event others may stand with nothing in them, which are no events.

    Raises:
        ProviderFaultError: it is an error under a status of success.
    """
    if marker(value.decode("utf-8", "replace")) is not None:
        return
    try:
        told = _wrapped.decode(value)
    except (msgspec.DecodeError, RecursionError):
        # The reader says of what is no event that it is none.
        yield BedrockEvent("contentBlockDelta", value)
        return
    if _MAY_FAIL & told.keys() or not _EVENTS & told.keys():
        fail_on(value)
    if bytes(told.get("output", b"")).strip()[:1] == b"{" and "stopReason" in told:
        yield from whole(bounds.decode(value))
        return
    for kind, raw in told.items():
        body = bytes(raw)
        is_default = body == b"null" or (body == b"{}" and len(told) > 1)
        is_event = kind not in _MAY_FAIL and not kind.startswith("amazon-bedrock-")
        if is_event and not is_default:
            yield BedrockEvent(kind, body)


def whole(answer: dict[str, Any]) -> Iterator[BedrockEvent]:
    """Return the events that a stream of a Converse answer would have had."""
    message = members(members(answer.get("output")).get("message"))
    for index, block in enumerate(map(members, items(message.get("content")))):
        tool, thought = members(block.get("toolUse")), members(block.get("reasoningContent"))
        if tool:
            begun = {name: told for name, told in tool.items() if name != "input"}
            yield _written("contentBlockStart", contentBlockIndex=index, start={"toolUse": begun})
            block = {"toolUse": {"input": tool.get("input")}}  # noqa: PLW2901  the rest of it
        elif thought:
            text = members(thought.get("reasoningText"))
            block = {"reasoningContent": {**thought, **text}}  # noqa: PLW2901  as a delta has it
        yield _written("contentBlockDelta", contentBlockIndex=index, delta=block)
        yield _written("contentBlockStop", contentBlockIndex=index)
    yield _written("messageStop", stopReason=answer.get("stopReason"))
    told = {name: answer.get(name) for name in ("usage", "trace", "serviceTier")}
    yield _written("metadata", **told)


def _written(kind: str, **body: Any) -> BedrockEvent:
    return BedrockEvent(kind, msgspec.json.encode(body))


def event_of(message: EventMessage) -> BedrockEvent:
    """Return the event that a message is.

    Raises:
        ProviderFaultError: it reports a failure.
    """
    kind = _text(message.headers, ":message-type")
    if kind in _NAMES_OF_FAILURES:
        name = _text(message.headers, _NAMES_OF_FAILURES[kind])
        raise ProviderFaultError(failure_in_stream(_told(message) | named(name)))
    return BedrockEvent(_text(message.headers, ":event-type"), message.payload)


def anthropic_usage(metrics: Metrics) -> dict[str, Any]:
    """Write Bedrock's counts as the last event of Anthropic's that counts."""
    counts = {
        "input_tokens": metrics.input_token_count,
        "output_tokens": metrics.output_token_count,
        "cache_read_input_tokens": metrics.cache_read_input_token_count,
        "cache_creation_input_tokens": metrics.cache_write_input_token_count,
    }
    told = {name: count for name, count in counts.items() if count is not None}
    return {"type": "message_delta", "delta": {}, "usage": told}


def chat_usage(metrics: Metrics) -> dict[str, Any]:
    """Write Bedrock's counts as the chunk of Chat Completions that counts."""
    counts = {
        "prompt_tokens": metrics.input_token_count,
        "completion_tokens": metrics.output_token_count,
    }
    return {"choices": [], "usage": counts}


def _told(message: EventMessage) -> dict[str, Any]:
    """Return what an exception says besides its name."""
    sentence = _text(message.headers, ":error-message")
    return {"message": sentence} | members(error_in(message.payload))


def _text(headers: Mapping[str, HeaderValue], name: str) -> str:
    value = headers.get(name, "")
    return value if isinstance(value, str) else ""

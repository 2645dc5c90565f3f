"""Spans of messages, by the semantic conventions for messaging.

One trace spans caller, entity, worker and provider: its ``traceparent`` travels in headers and in
messages. Where no collector is configured no span is made, and a trace that came in is passed on.

A destination is named by its template (``cb.{tenant}.stream.{execution_id}``), never by ids, and no
attribute holds a text that a user or a model wrote.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from importlib import import_module
from types import TracebackType
from typing import Any, Self

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context as OtelContext
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TracerProvider,
)

from bus.errors import ConfigError, ProblemError
from bus.telemetry.context import Bound, accept, current
from schemas.problems import ProblemCode

SCOPE = "callboard"

Attributes = Mapping[str, str | int | float | bool | list[str]]


class _Switch:
    """The tracer of this process. The one piece of global state here, set at start and at stop."""

    tracer: Tracer | None = None


class Span:
    """A step of the work. While it is entered, it is the parent of spans that begin inside.

    Log lines written inside carry its fields and its trace.
    """

    __slots__ = ("_begin", "_bound", "_fields", "_otel_token", "_span", "traceparent")

    def __init__(
        self,
        fields: Mapping[str, str],
        parent: str | None,
        begin: Callable[[], trace.Span] | None = None,
    ) -> None:
        self._fields = fields
        self._begin = begin
        self._span: trace.Span | None = None
        self._otel_token: Token[OtelContext] | None = None
        self._bound: Bound | None = None
        self.traceparent = parent

    def __enter__(self) -> Self:
        if self._begin is not None:
            self._span = self._begin()
            self.traceparent = _traceparent(self._span.get_span_context())
            self._otel_token = otel_context.attach(trace.set_span_in_context(self._span))
        self._bound = Bound(self._fields, self.traceparent)
        self._bound.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bound is not None:
            self._bound.__exit__()
        if self._span is None:
            return
        if error is not None:
            code = error.problem.code if isinstance(error, ProblemError) else None
            self.fail(code or type(error).__name__)
        if self._otel_token is not None:
            otel_context.detach(self._otel_token)
        self._span.end()

    def set(self, attributes: Attributes) -> None:
        """Add attributes that are only known now."""
        if self._span is not None:
            self._span.set_attributes(dict(attributes))

    def fail(self, code: ProblemCode | str) -> None:
        """Mark the step as failed; the code is all that is said of the reason."""
        if self._span is not None:
            self._span.set_status(StatusCode.ERROR)
            self._span.set_attribute("error.type", code)


def publishing(kind: str, destination: str, *, message_id: str | None = None) -> Span:
    """Return the span of sending a message of type ``kind`` to subjects of a template."""
    tracer, parent = _Switch.tracer, current().trace
    if tracer is None:
        return Span({}, parent)
    attributes = _messaging(destination, "publish", "send", message_id)
    return Span({}, parent, _beginning(tracer, f"publish {kind}", SpanKind.PRODUCER, attributes))


def handling(
    kind: str,
    destination: str,
    *,
    parent: str | None,
    message_id: str | None = None,
    replay: bool = False,
    **fields: str,
) -> Span:
    """Return the span of handling a message that belongs to the trace ``parent``.

    ``fields`` are added to the log lines written inside. A message that is read again later
    (``replay``) begins a trace of its own, which points back to the first one.
    """
    tracer, parent = _Switch.tracer, accept(parent)
    if tracer is None:
        return Span(fields, parent)
    attributes = _messaging(destination, "handle", "process", message_id)
    above, links = _origin(parent, replay=replay)
    begin = _beginning(tracer, f"handle {kind}", SpanKind.CONSUMER, attributes, above, links)
    return Span(fields, parent, begin)


def use(provider: TracerProvider | None) -> None:
    """Make spans with this provider, or none."""
    _Switch.tracer = provider.get_tracer(SCOPE) if provider is not None else None


def export(service: str, process: str) -> Callable[[], None]:
    """Make spans and send them where the ``OTEL_*`` variables say; return the way to stop.

    Stopping blocks until what is left is sent or given up; call it in a thread.

    Raises:
        ConfigError: the exporter is not installed.
    """
    try:
        module = import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ImportError:
        raise ConfigError(
            "OTEL_EXPORTER_OTLP_ENDPOINT", "traces need the extra: pip install 'callboard[otlp]'"
        ) from None
    # Imported here, because a process that exports nothing should not pay for them.
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
    from opentelemetry.sdk.trace import TracerProvider as SdkProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

    resource = Resource.create({"service.name": service, "service.instance.id": process})
    provider = SdkProvider(resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(module.OTLPSpanExporter()))
    use(provider)
    return lambda: _stop(provider.shutdown)


def _stop(shutdown: Callable[[], Any]) -> None:
    use(None)
    shutdown()


def _origin(parent: str | None, *, replay: bool) -> tuple[OtelContext, Sequence[Link]]:
    """Return what the span of a message stands under, and what it points back to."""
    if parent is None:
        return OtelContext(), ()
    remote = _span_context(parent)
    if replay:
        return OtelContext(), (Link(remote),)
    return trace.set_span_in_context(NonRecordingSpan(remote), OtelContext()), ()


def _beginning(
    tracer: Tracer,
    name: str,
    kind: SpanKind,
    attributes: Attributes,
    above: OtelContext | None = None,
    links: Sequence[Link] = (),
) -> Callable[[], trace.Span]:
    """Return what begins the span; without ``above`` it stands under the task's own span."""
    return lambda: tracer.start_span(
        name, context=above, kind=kind, attributes=dict(attributes), links=links
    )


def _messaging(
    destination: str, name: str, operation: str, message_id: str | None
) -> dict[str, str]:
    return {
        "messaging.system": "nats",
        "messaging.operation.name": name,
        "messaging.operation.type": operation,
        "messaging.destination.template": destination,
        **({"messaging.message.id": message_id} if message_id else {}),
    }


def _span_context(traceparent: str) -> SpanContext:
    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(
        int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(int(flags, 16))
    )


def _traceparent(span: SpanContext) -> str:
    return f"00-{span.trace_id:032x}-{span.span_id:016x}-{span.trace_flags:02x}"

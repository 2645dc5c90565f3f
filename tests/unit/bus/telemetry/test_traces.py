"""Spans: their names, attributes and places in a trace."""

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from bus.config import Config, load
from bus.errors import ConfigError, problem
from bus.telemetry import setup, traces
from bus.telemetry.context import accept, current

OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
TRACE = f"00-{TRACE_ID}-b7ad6b7169203331-01"
EXECUTE = "cb.{tenant}.agents.execute"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces.use(provider)
    yield exporter
    traces.use(None)
    provider.shutdown()


def ids(span: ReadableSpan) -> tuple[int, int]:
    context = span.get_span_context()
    assert context is not None
    return context.trace_id, context.span_id


def one(spans: InMemorySpanExporter) -> ReadableSpan:
    (span,) = spans.get_finished_spans()
    return span


def test_without_a_collector_a_trace_that_came_in_is_passed_on():
    with (
        traces.handling("execute", EXECUTE, parent=TRACE) as outer,
        traces.publishing("accept", "_cb.cmd.{entity}.{shard}") as inner,
    ):
        inner.set({"n": 1})
        inner.fail("timeout")
        assert (outer.traceparent, inner.traceparent, current().trace) == (TRACE,) * 3
    assert current().trace is None


def test_without_a_collector_and_a_trace_there_is_none():
    with traces.handling("execute", EXECUTE, parent="garbage") as span:
        assert span.traceparent is None
        assert current().trace is None


def test_handling_a_message_continues_the_senders_trace(spans: InMemorySpanExporter):
    with traces.handling("execute", EXECUTE, parent=TRACE, message_id="m1") as handled:
        assert current().trace == handled.traceparent
    span = one(spans)
    assert span.name == "handle execute"
    assert span.kind == SpanKind.CONSUMER
    assert span.parent is not None
    assert f"{span.parent.trace_id:032x}" == TRACE_ID
    assert dict(span.attributes or {}) == {
        "messaging.system": "nats",
        "messaging.operation.name": "handle",
        "messaging.operation.type": "process",
        "messaging.destination.template": EXECUTE,
        "messaging.message.id": "m1",
    }


def test_publishing_inside_is_a_child_and_its_traceparent_is_what_travels(
    spans: InMemorySpanExporter,
):
    with (
        traces.handling("execute", EXECUTE, parent=TRACE),
        traces.publishing("accept", "_cb.cmd.{entity}.{shard}") as sent,
    ):
        travels = current().trace
    child, parent = spans.get_finished_spans()
    assert (child.name, child.kind) == ("publish accept", SpanKind.PRODUCER)
    assert child.parent is not None
    assert (child.parent.trace_id, child.parent.span_id) == ids(parent)
    assert travels == sent.traceparent == accept(travels)
    assert travels is not None
    assert travels.split("-")[1] == TRACE_ID


def test_a_message_without_a_trace_begins_one(spans: InMemorySpanExporter):
    with traces.publishing("outer", EXECUTE), traces.handling("execute", EXECUTE, parent=None):
        pass
    handled, outer = spans.get_finished_spans()
    assert handled.parent is None
    assert ids(handled)[0] != ids(outer)[0]


def test_replaying_begins_a_trace_that_points_back(spans: InMemorySpanExporter):
    with traces.handling("commit", "_cb.journal.{entity}.{shard}", parent=TRACE, replay=True):
        pass
    span = one(spans)
    assert span.parent is None
    assert [f"{link.context.trace_id:032x}" for link in span.links] == [TRACE_ID]


def test_a_failure_leaves_its_code_and_no_text(spans: InMemorySpanExporter):
    with (
        pytest.raises(Exception, match="provider_error"),
        traces.handling("execute", EXECUTE, parent=None),
    ):
        raise problem("provider_error", "it said: my diary")
    span = one(spans)
    assert span.status.status_code == StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "provider_error"
    assert span.status.description is None
    assert span.events == ()


def test_spans_go_where_the_operator_says_until_the_process_stops(
    monkeypatch: pytest.MonkeyPatch,
):
    collected = InMemorySpanExporter()
    library = ModuleType(OTLP)
    monkeypatch.setattr(library, "OTLPSpanExporter", lambda: collected, raising=False)
    monkeypatch.setitem(sys.modules, OTLP, library)
    stop = setup.start(
        load(Config, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x"}), actor="a", process="p1"
    )
    with traces.publishing("execute", EXECUTE):
        pass
    stop()
    span = one(collected)
    assert span.resource.attributes["service.name"] == "callboard-a"
    assert span.resource.attributes["service.instance.id"] == "p1"
    with traces.publishing("execute", EXECUTE) as after:
        assert after.traceparent is None


def test_a_collector_without_the_exporter_refuses_to_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, OTLP, None)
    with pytest.raises(ConfigError) as refused:
        traces.export("callboard-a", "p1")
    assert refused.value.name == "OTEL_EXPORTER_OTLP_ENDPOINT"


def test_a_foreign_failure_leaves_the_name_of_its_type(spans: InMemorySpanExporter):
    with pytest.raises(ValueError, match="diary"), traces.publishing("x", EXECUTE):
        raise ValueError("my diary")
    assert (one(spans).attributes or {})["error.type"] == "ValueError"

"""Metrics: the promised table is what a process exposes, and nothing grows without end."""

import re
from importlib import import_module

from prometheus_client.parser import text_string_to_metric_families

from actors.streaming.adapters.metrics import PROVIDER_ERRORS
from bus.telemetry import metrics
from tests.architecture.tree import actors

MODULES = (
    metrics,
    *(
        import_module(f"actors.{folder.name}.adapters.metrics")
        for folder in actors()
        if (folder / "adapters" / "metrics.py").exists()
    ),
)
ROW = re.compile(r"^\| (callboard_\w+) \| (\w+) \| ?([\w, ]*?) ?\|", re.MULTILINE)


def promised() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return the tables of all processes and of each actor that has metrics of its own."""
    rows = [row for module in MODULES for row in ROW.findall(module.__doc__ or "")]
    return {
        name: (kind, tuple(labels.split(", ")) if labels else ()) for name, kind, labels in rows
    }


def test_the_table_lists_just_the_metrics_that_exist():
    exposed = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in metrics.REGISTRY.collect()
        if family.name.startswith("callboard_")
    }
    assert exposed == {name: kind for name, (kind, _) in promised().items()}


def test_an_instrument_has_the_labels_of_the_table():
    families = [each for module in MODULES for each in vars(module).items()]
    for name, family in families:
        if isinstance(family, metrics._Family):
            family.at(*("x" for _ in family._labels))
            parent = family._parent
            exposed = parent._name + ("_total" if parent._type == "counter" else "")
            assert promised()[exposed] == (parent._type, family._labels), name


def test_what_was_counted_is_exposed_as_prometheus_reads_it():
    metrics.REQUESTS.at("agents-execute", "ok").inc()
    metrics.REQUEST_SECONDS.at("agents-execute").observe(0.003)
    metrics.OUTBOX_UNSETTLED.at().set(4)
    text = metrics.render().decode()
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["callboard_requests_total", "agents-execute", "ok"] == 1
    assert samples["callboard_request_seconds_bucket", "0.002", "agents-execute"] == 0
    assert samples["callboard_request_seconds_bucket", "0.004", "agents-execute"] == 1
    assert samples[("callboard_outbox_unsettled",)] == 4
    assert samples[("process_resident_memory_bytes",)] > 0


def test_names_that_users_make_up_cannot_grow_a_metric_without_end():
    family = PROVIDER_ERRORS
    for number in range(3 * metrics.MOST_LABEL_SETS):
        family.at("custom", f"model-{number}", "timeout").inc()
    other = family.at("custom", "yet-another", "timeout")
    assert other is family.at(metrics.OTHER, metrics.OTHER, metrics.OTHER)
    assert len(family._bound) <= metrics.MOST_LABEL_SETS + 1
    assert other._value.get() >= 2 * metrics.MOST_LABEL_SETS

"""Metrics: the promised table is what a process exposes, and nothing grows without end."""

import re

from prometheus_client.parser import text_string_to_metric_families

from bus.telemetry import metrics

ROW = re.compile(r"^\| (callboard_\w+) \| (\w+) \| ?([\w, ]*?) ?\|", re.MULTILINE)


def promised() -> dict[str, tuple[str, tuple[str, ...]]]:
    rows = ROW.findall(metrics.__doc__ or "")
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
    for name, family in vars(metrics).items():
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
    family = metrics.PROVIDER_ERRORS
    for number in range(3 * metrics.MOST_LABEL_SETS):
        family.at("custom", f"model-{number}", "timeout").inc()
    other = family.at("custom", "yet-another", "timeout")
    assert other is family.at(metrics.OTHER, metrics.OTHER, metrics.OTHER)
    assert len(family._bound) <= metrics.MOST_LABEL_SETS + 1
    assert other._value.get() >= 2 * metrics.MOST_LABEL_SETS

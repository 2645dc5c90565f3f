"""Metrics of model calls. Names, labels and units are part of what we promise.

| metric | kind | labels | what it says |
|---|---|---|---|
| callboard_provider_seconds | histogram | provider, model, until | until `first_delta`, `end` |
| callboard_provider_errors_total | counter | provider, model, code | calls of a model that failed |
| callboard_circuit_state | gauge | endpoint | 0 closed, 1 half open, 2 open; if ever open |
| callboard_tokens_total | counter | provider, model, kind | tokens by bucket of the usage |
| callboard_deltas_total | counter | provider | stream events published from an answer |
| callboard_streams_open | gauge | side | streams that are being `written` here |
"""

from bus.telemetry.metrics import SLOW, counter, gauge, histogram

PROVIDER_SECONDS = histogram(
    "callboard_provider_seconds",
    "Until the first delta, until the end of an answer",
    "provider",
    "model",
    "until",
    buckets=SLOW,
)
PROVIDER_ERRORS = counter(
    "callboard_provider_errors_total", "Calls of a model that failed", "provider", "model", "code"
)
CIRCUIT_STATE = gauge("callboard_circuit_state", "0 closed, 1 half open, 2 open", "endpoint")
TOKENS = counter(
    "callboard_tokens_total", "Tokens by bucket of the usage", "provider", "model", "kind"
)
DELTAS = counter("callboard_deltas_total", "Stream events published from an answer", "provider")
STREAMS_OPEN = gauge("callboard_streams_open", "Streams that are being written here", "side")

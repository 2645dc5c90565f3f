"""Metrics of executions. Names, labels and units are part of what we promise.

| metric | kind | labels | what it says |
|---|---|---|---|
| callboard_executions_total | counter | status | executions that ended |
| callboard_execution_seconds | histogram | status | from acceptance to the end |
"""

from bus.telemetry.metrics import SLOW, counter, histogram

EXECUTIONS = counter("callboard_executions_total", "Executions that ended", "status")
EXECUTION_SECONDS = histogram(
    "callboard_execution_seconds", "From acceptance to the end", "status", buckets=SLOW
)

"""Metrics of accounts. Names, labels and units are part of what we promise.

| metric | kind | labels | what it says |
|---|---|---|---|
| callboard_disputed_bills_total | counter | | bills of hosts without a secret that told too much |
| callboard_disputed_dollars_total | counter | | what such bills told beyond what is booked |
| callboard_bills_over_hold_total | counter | | bills that the operator pays above what was held |
"""

from bus.telemetry.metrics import counter

DISPUTED_BILLS = counter(
    "callboard_disputed_bills_total", "Bills of hosts without a secret that told too much"
)
DISPUTED_DOLLARS = counter("callboard_disputed_dollars_total", "What such bills told beyond it")
BILLS_OVER_HOLD = counter(
    "callboard_bills_over_hold_total", "Bills that the operator pays above what was held"
)

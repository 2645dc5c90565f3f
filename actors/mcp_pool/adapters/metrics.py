"""Metrics of the pool. Names, labels and units are part of what we promise.

| metric | kind | labels | what it says |
|---|---|---|---|
| callboard_tool_calls_total | counter | server, tool, outcome | `ok`, `tool_error`, or why not |
| callboard_tool_seconds | histogram | server, lane, era | from a work item to its result |
| callboard_tool_servers_circuit | gauge | server | 0 closed, 1 half open, 2 open |
| callboard_mcp_opened | gauge | kind | sessions, sockets, tasks, processes opened |
| callboard_mcp_open | gauge | kind | of those, how many are open |
| callboard_mcp_leaked | gauge | kind | of those, how many their owner has left open |
"""

from bus.telemetry.metrics import SLOW, counter, gauge, histogram

CALLS = counter(
    "callboard_tool_calls_total", "Calls of tools by outcome", "server", "tool", "outcome"
)
SECONDS = histogram(
    "callboard_tool_seconds",
    "From a work item to its result",
    "server",
    "lane",
    "era",
    buckets=(0.001, 0.002, 0.005, 0.01, 0.025, *SLOW),
)
CIRCUIT = gauge("callboard_tool_servers_circuit", "0 closed, 1 half open, 2 open", "server")
CIRCUIT_STATES = {"closed": 0, "half_open": 1, "open": 2}

OPENED = gauge("callboard_mcp_opened", "Sessions, sockets, tasks, processes opened", "kind")
OPEN = gauge("callboard_mcp_open", "Of those, how many are open", "kind")
LEAKED = gauge("callboard_mcp_leaked", "Of those, how many their owner has left open", "kind")

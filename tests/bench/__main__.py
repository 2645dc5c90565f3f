"""Measures this machine: ``python -m tests.bench [names]``; without names what takes seconds."""

import sys
from argparse import ArgumentParser

import anyio
import structlog

from tests.bench import (
    bodies,
    budgeted,
    deltas,
    durable,
    executions,
    failover,
    growth,
    http_calls,
    lists,
    mcp,
    open_items,
    pricing,
    pricing_ledger,
    projection,
    restate,
    sleepers,
    startup,
    streaming,
    streaming_clients,
    streaming_memory,
    workflow,
    workflow_proof,
)
from tests.bench.rows import HEAD, line

BENCHES = {
    bench.NAME: bench
    for bench in (
        executions,
        durable,
        deltas,
        startup,
        failover,
        pricing,
        pricing_ledger,
        budgeted,
        projection,
        lists,
        sleepers,
        open_items,
        bodies,
        workflow,
        workflow_proof,
    )
}
BY_NAME = {
    bench.NAME: bench for bench in (growth, http_calls, mcp, restate, streaming, streaming_clients)
}
"""They take minutes, or need what is not part of an installation."""


async def run(names: list[str], minutes: float) -> None:
    """Run the named benches one after another and print their rows."""
    print(HEAD, flush=True)
    for name in names or list(BENCHES):
        lasting = name == streaming_memory.NAME
        rows = streaming_memory.measure(minutes) if lasting else (BENCHES | BY_NAME)[name].measure()
        for row in await rows:
            print(line(row), flush=True)


def main() -> None:
    """Refuse unknown names, run the others."""
    names = [*BENCHES, *BY_NAME, streaming_memory.NAME]
    parser = ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(names)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long memory is watched")
    asked = parser.parse_args()
    unknown = [name for name in asked.names if name not in names]
    if unknown:
        sys.exit(f"no such bench: {', '.join(unknown)}; there are {', '.join(names)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    options = {"use_uvloop": sys.platform != "win32"}
    try:
        anyio.run(run, asked.names, asked.minutes, backend_options=options)
    except (KeyboardInterrupt, ValueError) as error:
        sys.exit(str(error) or "interrupted; all processes are ended")


if __name__ == "__main__":
    main()

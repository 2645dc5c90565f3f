"""Measures this machine: ``python -m tests.bench [names]``; without names everything."""

import sys

import anyio
import structlog

from tests.bench import (
    deltas,
    durable,
    executions,
    failover,
    pricing_ledger,
    projection,
    restate,
    startup,
    streaming,
)
from tests.bench.rows import HEAD, line

BENCHES = {
    bench.NAME: bench
    for bench in (executions, durable, deltas, startup, failover, pricing_ledger, projection)
}
BY_NAME = {bench.NAME: bench for bench in (restate, streaming)}
"""They take minutes, or need what is not part of an installation."""


async def run(names: list[str]) -> None:
    """Run the named benches one after another and print their rows."""
    print(HEAD, flush=True)
    for name in names or list(BENCHES):
        for row in await (BENCHES | BY_NAME)[name].measure():
            print(line(row), flush=True)


def main() -> None:
    """Refuse unknown names, run the others."""
    unknown = [name for name in sys.argv[1:] if name not in BENCHES | BY_NAME]
    if unknown:
        sys.exit(f"no such bench: {', '.join(unknown)}; there are {', '.join(BENCHES | BY_NAME)}")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("warning"))
    anyio.run(run, sys.argv[1:], backend_options={"use_uvloop": sys.platform != "win32"})


if __name__ == "__main__":
    main()

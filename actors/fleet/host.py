"""Several actors in one process: ``python -m actors.fleet.host agents pricing``.

They meet on the bus as if each had a process of its own, and each has its own heartbeat, readiness
and load. Where a part of one fails too often the process ends, and its exit code says whose it was
(``bus.runtime.supervision.EXIT_ALONE``), so that a supervisor can give that one a process of its
own.
"""

import sys

from actors.fleet.declared import actors
from actors.fleet.plan import chosen
from bus.actor import serve
from bus.runtime import process


async def run() -> None:
    """Run the actors of the command line until told to stop.

    Raises:
        ConfigError: there is no such actor.
    """
    await serve(*actors(chosen(",".join(sys.argv[1:]), [])))


if __name__ == "__main__":
    process.main(run)

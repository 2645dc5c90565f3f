"""One actor process whose leases end soon after their work: ``python -m tests.hurried ACTOR``.

The minute of grace is for a worker to say what was spent; a test need not wait so long to see what
happens when it is over.
"""

import sys
from datetime import timedelta
from importlib import import_module

GRACE_SECONDS = 5
PLACES = {"agents": "schemas.bills", "streaming": "actors.streaming.adapters.leave"}


def main(actor: str) -> None:
    """Run the process to its end."""
    if actor in PLACES:
        place = import_module(PLACES[actor])
        assert isinstance(place.GRACE, timedelta)
        setattr(place, "GRACE", timedelta(seconds=GRACE_SECONDS))  # noqa: B010  of a module
    process = import_module("bus.process")
    process.main(import_module(f"actors.{actor}.__main__").run)


if __name__ == "__main__":
    main(sys.argv[1])

"""One actor process whose leases end soon after their work: ``python -m tests.hurried ACTOR``.

The minute of grace is for a worker to say what was spent; a test need not wait so long to see what
happens when it is over.
"""

import sys
from datetime import timedelta
from functools import partial
from importlib import import_module

from bus.actor import serve
from bus.runtime import process

GRACE_SECONDS = 5
PLACES = {"agents": "schemas.bills"}


def main(actor: str) -> None:
    """Run the process to its end."""
    if actor in PLACES:
        place = import_module(PLACES[actor])
        assert isinstance(place.GRACE, timedelta)
        setattr(place, "GRACE", timedelta(seconds=GRACE_SECONDS))  # noqa: B010  of a module
    process.main(partial(serve, import_module(f"actors.{actor}.actor").ACTOR))


if __name__ == "__main__":
    main(sys.argv[1])

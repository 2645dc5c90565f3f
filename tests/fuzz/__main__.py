"""Fuzz the framings for as long as wished, guided by coverage: ``python -m tests.fuzz sse``.

Optional: it needs ``pip install atheris``, which is not in the lock. What follows the name goes to
libFuzzer, as in ``python -m tests.fuzz ndjson -max_total_time=60``.
"""

import sys
from importlib import import_module
from typing import Any

NAMES = ("sse", "ndjson", "json", "either", "event-stream")


def main() -> None:
    """Run the fuzzer on one framing until it finds something or the time is over."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"name one of {', '.join(NAMES)}")
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        sys.exit("this needs: pip install atheris")
    with atheris.instrument_imports(include=["actors.streaming.core"]):
        framings: Any = import_module("tests.fuzz.framings")
    kind = framings.KINDS[sys.argv.pop(1).replace("-", " ")]

    def one_input(data: bytes) -> None:
        # The first three bytes say where to cut the rest.
        framings.demand_laws(kind, kind.dressed(data[3:]), data[:3])

    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

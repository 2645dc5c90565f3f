"""Fuzz what reads bytes from outside, guided by coverage: ``python -m tests.fuzz sse``.

Optional: it needs ``pip install atheris``, which is not in the lock. What follows the name goes to
libFuzzer, as in ``python -m tests.fuzz ndjson -max_total_time=60``.
"""

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

FRAMINGS = ("sse", "ndjson", "json", "either", "event-stream")
NAMES = (*FRAMINGS, "codec")


def main() -> None:
    """Run the fuzzer on one target until it finds something or the time is over."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"name one of {', '.join(NAMES)}")
    try:
        atheris: Any = import_module("atheris")
    except ImportError:
        sys.exit("this needs: pip install atheris")
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, _codec(atheris) if name == "codec" else _framing(atheris, name))
    atheris.Fuzz()


def _framing(atheris: Any, name: str) -> Callable[[bytes], None]:
    with atheris.instrument_imports(include=["actors.streaming.core"]):
        framings: Any = import_module("tests.fuzz.framings")
    kind = framings.KINDS[name.replace("-", " ")]

    def one_input(data: bytes) -> None:
        # The first three bytes say where to cut the rest.
        framings.demand_laws(kind, kind.dressed(data[3:]), data[:3])

    return one_input


def _codec(atheris: Any) -> Callable[[bytes], None]:
    with atheris.instrument_imports(include=["bus.codec", "bus.shard.salvage", "schemas.bounds"]):
        codec: Any = import_module("tests.fuzz.codec")

    def one_input(data: bytes) -> None:
        codec.demand_border(data)
        codec.demand_salvage(data)

    return one_input


if __name__ == "__main__":
    main()

"""``make test``: every gate beside the tests, and what each stage took.

Tests that compute get a worker a processor. Those that run processes of their own mostly wait for
them, and get half as many again.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from time import monotonic

ROOT = Path(__file__).parent.parent
WAITING = ("tests/chaos", "tests/integration")
COMPUTING = ("tests/simulation", "tests/unit", "tests/contract", "tests/architecture")
"""The longest tests come first, or in the end one worker would be left with them."""


def spread(suites: Sequence[str]) -> tuple[str, ...]:
    """Return how pytest spreads these suites over the processors.

    Tests that compute are given out one by one, so that no processor is left with all the long ones
    in the end; those that wait are given out by files, because many share a fleet of their file.
    """
    cores = os.cpu_count() or 1
    if set(suites) <= set(WAITING):
        return (
            "--numprocesses",
            str(cores + (cores + 1) // 2),
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
        )
    return ("--numprocesses", str(cores), "--maxschedchunk", "1")


def pytest(python: str | Path, suites: Sequence[str], *more: str) -> int:
    """Run suites; return pytest's exit code."""
    command = [python, "-m", "pytest", *spread(suites), "-m", "not bench", *more, *suites]
    return subprocess.run(command, check=False, cwd=ROOT).returncode


class Gates(Thread):
    """``make check`` beside the tests: what it said, how it ended and when."""

    def __init__(self) -> None:
        super().__init__()
        self.said, self.code, self.ended = "", 1, 0.0

    def run(self) -> None:
        """Run them to their end."""
        done = subprocess.run(
            ["make", "--no-print-directory", "check"],
            check=False,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said, self.code, self.ended = done.stdout, done.returncode, monotonic()


def main() -> int:
    """Run everything; 1 if anything failed."""
    began = since = monotonic()
    gates = Gates()
    gates.start()
    took: list[tuple[float, str, int]] = []
    for name, suites in (("tests that compute", COMPUTING), ("tests that wait", WAITING)):
        print(f"== {name}", flush=True)
        code = pytest(sys.executable, suites)
        took.append((monotonic() - since, name, code))
        since = monotonic()
    gates.join()
    print(gates.said, flush=True)
    took.append((gates.ended - began, "gates, beside them", gates.code))
    for seconds, name, code in took:
        print(f"{seconds:6.0f} s  {name}{': FAILED' if code else ''}")
    print(f"{monotonic() - began:6.0f} s  in all")
    return 1 if any(code for _, _, code in took) else 0


if __name__ == "__main__":
    sys.exit(main())

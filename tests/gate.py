"""``make test``: every gate and every test, and what each stage took.

Three stages run beside each other. Tests that run processes of their own mostly wait for them, so
they have twice as many workers as there are processors, and go first wherever they can run: what
computes, tests and gates, is nice and takes the processors that the others leave idle.
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

NICE = ("nice", "-n", "5")
"""So much that those who wait are not held up, and so little that nobody runs out of time."""

NICEST = ("nice", "-n", "7")
"""Pyright gives up where its files are not found within 10 s, so it is not starved."""


def spread(suites: Sequence[str]) -> tuple[str, ...]:
    """Return how pytest spreads these suites over the processors.

    Tests that compute are given out one by one, so that no processor is left with all the long ones
    in the end; those that wait are given out by files, because many share a fleet of their file.
    """
    cores = os.cpu_count() or 1
    if set(suites) <= set(WAITING):
        return (
            "--numprocesses",
            str(2 * cores),
            "--dist",
            "loadfile",
            "--no-loadscope-reorder",
        )
    return ("--numprocesses", str(cores), "--maxschedchunk", "1")


def command(python: str | Path, suites: Sequence[str], *more: str) -> list[str]:
    """Return the command that runs suites."""
    return [str(python), "-m", "pytest", *spread(suites), "-m", "not bench", *more, *suites]


def pytest(python: str | Path, suites: Sequence[str], *more: str) -> int:
    """Run suites; return pytest's exit code."""
    return subprocess.run(command(python, suites, *more), check=False, cwd=ROOT).returncode


class Stage(Thread):
    """A command that runs beside others: what it said, how it ended, and after how long."""

    def __init__(self, name: str, command: Sequence[str]) -> None:
        super().__init__()
        self.name, self._command = name, command
        self.said, self.code, self.seconds = "", 1, 0.0
        self.start()

    def run(self) -> None:
        """Run it to its end."""
        began = monotonic()
        done = subprocess.run(
            self._command,
            check=False,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said, self.code, self.seconds = done.stdout, done.returncode, monotonic() - began


def main() -> int:
    """Run everything; 1 if anything failed."""
    # Else each of some hundred processes compiles all modules for itself.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    began = monotonic()
    beside = [
        Stage("gates", [*NICEST, "make", "--no-print-directory", "check"]),
        Stage("tests that compute", [*NICE, *command(sys.executable, COMPUTING)]),
    ]
    print("== tests that wait; what runs beside them is told after them", flush=True)
    waiting = pytest(sys.executable, WAITING)
    took = [(monotonic() - began, "tests that wait", waiting)]
    for stage in beside:
        stage.join()
        print(f"== {stage.name}\n{stage.said}", flush=True)
        took.append((stage.seconds, stage.name, stage.code))
    for seconds, name, code in took:
        print(f"{seconds:6.0f} s  {name}{': FAILED' if code else ''}")
    print(f"{monotonic() - began:6.0f} s  in all")
    return 1 if any(code for _, _, code in took) else 0


if __name__ == "__main__":
    sys.exit(main())

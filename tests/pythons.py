"""Runs the unit, contract and integration tests on every Python that Callboard promises to run on.

``python -m tests.pythons [--newest] [PYTEST ARGUMENT …]``. An interpreter is looked for on PATH and
among those of pyenv, and gets a virtual environment of its own, ``.venv-3.X``, with exactly what
requirements.lock names. One that is not on this machine is named at the end, and nothing is claimed
of it.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.gate import pytest

ROOT = Path(__file__).parent.parent
PROMISED = ("3.11", "3.12", "3.13", "3.14")
SUITES = (("tests/unit", "tests/contract"), ("tests/integration",))
"""What depends on the interpreter, in the parts that are spread alike (``tests.gate``)."""

LOCK = ROOT / "requirements.lock"


def candidates(version: str) -> Iterator[str]:
    """Yield the paths where an interpreter of this version may be, the likeliest first."""
    for folder in os.get_exec_path():
        found = shutil.which(f"python{version}", path=folder)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python")))


def runs(interpreter: str) -> bool:
    """Say whether it starts at all: pyenv puts names on PATH that only print an error."""
    command = [interpreter, "-c", "import venv, ensurepip"]
    check = subprocess.run(command, check=False, capture_output=True)
    return check.returncode == 0


def find(version: str) -> str | None:
    """Return an interpreter of this version that works, if the machine has one."""
    return next(filter(runs, candidates(version)), None)


def prepare(version: str, interpreter: str) -> Path:
    """Make or refresh the environment of one version and return its Python."""
    environment = ROOT / f".venv-{version}"
    python, stamp = environment / "bin" / "python", environment / ".installed"
    if stamp.exists() and stamp.stat().st_mtime > LOCK.stat().st_mtime:
        return python
    print(f"== .venv-{version}: installing from requirements.lock", flush=True)
    subprocess.run([interpreter, "-m", "venv", environment], check=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-qq", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True)
    subprocess.run([*pip, "--no-build-isolation", "-e", ROOT], check=True)
    stamp.touch()
    return python


def run_suites(python: Path, arguments: Sequence[str]) -> int:
    """Run the suites with one Python; return the worst of pytest's exit codes."""
    parts = (tuple(arguments),) if arguments else SUITES
    return max(pytest(python, part, "-q") for part in parts)


def chosen(found: dict[str, str], *, newest: bool) -> dict[str, str]:
    """Return the interpreters to test: all, or the newest where it is not the one that runs now."""
    if not newest:
        return found
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    others = [version for version in found if version != own]
    return {version: found[version] for version in others[-1:]}


def main() -> int:
    """Test on the interpreters found; 1 if a suite failed on one."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons", description=__doc__)
    parser.add_argument(
        "--newest", action="store_true", help="only the newest besides the one that runs this"
    )
    options, arguments = parser.parse_known_args()
    found = {version: path for version in PROMISED if (path := find(version))}
    results: dict[str, int] = {}
    for version, interpreter in chosen(found, newest=options.newest).items():
        print(f"== Python {version}", flush=True)
        results[version] = run_suites(prepare(version, interpreter), arguments)
    for version, code in results.items():
        print(f"Python {version}: {'passed' if code == 0 else 'FAILED'}")
    for version in (version for version in PROMISED if version not in found):
        print(f"Python {version}: not found here, not tested")
    return 1 if any(results.values()) else 0


if __name__ == "__main__":
    sys.exit(main())

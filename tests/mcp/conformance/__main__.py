"""The official conformance suite, in both revisions that it knows: ``make conformance``.

    python -m tests.mcp.conformance [ROLE …]

Exits with 0 if each required scenario passes but those of ``expected_failures.yaml``.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.mcp import servers

REVISIONS = ("2025-11-25", "2026-07-28")
EXPECTED = Path(__file__).with_name("expected_failures.yaml")
RUN_SECONDS = 300


def suite(role: str, *options: str) -> bool:
    """Run the required scenarios of a role in each revision; say whether all went as expected."""
    with tempfile.TemporaryDirectory() as results:
        common = ["--expected-failures", str(EXPECTED), "--output-dir", results]
        runs = [[*options, "--requirements", revision, *common] for revision in REVISIONS]
        passed = [_passes(role, run) for run in runs]
        return all(passed)


def _passes(role: str, options: Sequence[str]) -> bool:
    command = servers.command("@modelcontextprotocol/conformance", role, *options)
    done = subprocess.run(
        command,
        check=False,
        env=servers.environ(),
        timeout=RUN_SECONDS,
        text=True,
        capture_output=True,
    )
    # Before the summary it tells what each scenario has sent and received.
    print(done.stdout.rpartition("=== SUMMARY ===")[2] or done.stdout, done.stderr)
    return done.returncode == 0


def server() -> bool:
    """Ask our face, with the tools that the scenarios call."""
    command = [sys.executable, "-m", "tests.mcp.conformance.fixtures"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as face:
        assert face.stderr is not None
        try:
            return suite("server", "--url", face.stderr.readline().strip())
        finally:
            face.terminate()


ROLES: dict[str, Callable[[], bool]] = {"server": server}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(ROLES)
    passed = [ROLES[role]() for role in wanted]
    sys.exit(0 if all(passed) else 1)

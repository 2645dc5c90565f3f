"""The official conformance suite, in both revisions that it knows: ``make conformance``.

    python -m tests.mcp.conformance [ROLE …]

Exits with 0 if each required scenario passes but those of ``expected_server.yaml`` and
``expected_client.yaml``.
"""

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.mcp import servers
from tests.mcp.conformance.client_role import REVISIONS, client

EXPECTED = Path(__file__).with_name("expected_server.yaml")
RUN_SECONDS = 300


def server() -> bool:
    """Ask our face, with the tools that the scenarios call; say whether all went as expected."""
    command = [sys.executable, "-m", "tests.mcp.conformance.fixtures"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as face:
        assert face.stderr is not None
        try:
            url = face.stderr.readline().strip()
            passed = [_passes(url, revision) for revision in REVISIONS]
        finally:
            face.terminate()
    return all(passed)


def _passes(url: str, revision: str) -> bool:
    with tempfile.TemporaryDirectory() as results:
        options = ["--requirements", revision, "--expected-failures", str(EXPECTED)]
        package = "@modelcontextprotocol/conformance"
        done = subprocess.run(
            servers.command(package, "server", "--url", url, *options, "--output-dir", results),
            check=False,
            env=servers.environ(),
            timeout=RUN_SECONDS,
            text=True,
            capture_output=True,
        )
    # Before the summary it tells what each scenario has sent and received.
    print(done.stdout.rpartition("=== SUMMARY ===")[2] or done.stdout, done.stderr)
    return done.returncode == 0


ROLES: dict[str, Callable[[], bool]] = {"server": server, "client": client}

if __name__ == "__main__":
    wanted = sys.argv[1:] or list(ROLES)
    passed = [ROLES[role]() for role in wanted]
    sys.exit(0 if all(passed) else 1)

"""The official conformance suite plays servers, and our client must behave.

Plays every client scenario that a revision requires, two at a time: all at once they time out on
two processors. Those in ``expected_client.yaml`` are left out, or must fail with ``--listed``:
the file may only grow shorter.

    python -m tests.mcp.conformance.client_role [--listed] [WORD ...]

plays only scenarios with a word in their names.
"""

import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import yaml

from tests.mcp.servers import command, environ, installed

PACKAGE = "@modelcontextprotocol/conformance"
REVISIONS = ("2025-11-25", "2026-07-28")
HERE = Path(__file__).parent
EXPECTED = HERE / "expected_client.yaml"
SECONDS = 60
AT_ONCE = 2


def main() -> int:
    """Play the scenarios; return 1 if one ended otherwise than expected."""
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    left_out = () if "--listed" in sys.argv else yaml.safe_load(EXPECTED.read_text())["client"]
    return int(not client(words, left_out))


def client(words: Sequence[str] = (), left_out: Sequence[str] = ()) -> bool:
    """Play the required scenarios; say whether all ended as expected."""
    wanted = [
        (scenario, revision)
        for revision in REVISIONS
        for scenario in required(revision)
        if scenario not in left_out and _is_wanted(scenario, words)
    ]
    wrong = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        said = pool.map(lambda each: played(*each), wanted)
        for (scenario, revision), fault in zip(wanted, said, strict=True):
            told = "wrong" if fault else "ok"
            print(f"{told:<6} {revision} {scenario}\n{fault}", end="", flush=True)
            wrong += bool(fault)
    return wrong == 0


def required(revision: str) -> list[str]:
    """Return the client scenarios that a revision requires, by the suite's own list."""
    path = installed() / PACKAGE / "requirements" / f"{revision}.yaml"
    return yaml.safe_load(path.read_text())["client"]


def played(scenario: str, revision: str) -> str:
    """Play a scenario; return what the suite says of it if it did not end as expected."""
    client = f"{sys.executable} -m tests.mcp.conformance.client"
    words = ["client", "--command", client, "--scenario", scenario, "--spec-version", revision]
    done = subprocess.run(
        [*command(PACKAGE), *words, "--expected-failures", str(EXPECTED)],
        check=False,
        cwd=HERE.parents[2],
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SECONDS,
    )
    return done.stdout if done.returncode else ""


def _is_wanted(scenario: str, words: Sequence[str]) -> bool:
    return not words or any(word in scenario for word in words)


if __name__ == "__main__":
    sys.exit(main())

"""What a fleet stores is its user's alone, and where nothing can be stored it says so."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers import PATIENCE

CALLBOARD = (sys.executable, "-c", "from actors.cli.commands import main; main()")
READY_SECONDS = 60.0 * PATIENCE
EXIT_CONFIG = 78

pytestmark = pytest.mark.single_server


def _up(*arguments: str) -> subprocess.Popen[str]:
    ours = {name for name in os.environ if name.startswith(("CALLBOARD_", "NATS_"))}
    environ = {name: value for name, value in os.environ.items() if name not in ours}
    return subprocess.Popen(
        [*CALLBOARD, "up", "--port", "0", *arguments],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=0,
    )


def _too_open(directory: Path) -> list[str]:
    entries = [directory, *directory.rglob("*")]
    modes = {entry: entry.lstat().st_mode for entry in entries}
    assert len(modes) > 10
    return [
        f"{entry}: {stat.filemode(mode)}"
        for entry, mode in modes.items()
        if stat.S_IMODE(mode) & 0o077 and not stat.S_ISLNK(mode)
    ]


def test_files_of_the_data_directory_are_their_users_alone(tmp_path: Path):
    data, ready = tmp_path / "data", tmp_path / "ready.json"
    fleet = _up("--data", str(data), "--ready-file", str(ready))
    try:
        deadline = time.monotonic() + READY_SECONDS
        while not ready.exists():
            assert fleet.poll() is None, fleet.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        assert _too_open(data) == []
        assert list(data.rglob("*.sqlite3"))
    finally:
        fleet.send_signal(signal.SIGINT)
        try:
            fleet.communicate(timeout=30 * PATIENCE)
        except subprocess.TimeoutExpired:
            fleet.kill()
            fleet.communicate()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--data", "/proc/x"),
        ("--data", "/dev/null"),
        ("--data", "/dev/null/x"),
        ("--data", "{tmp}/" + "a" * 300),
        ("--data", "{tmp}/data", "--ready-file", "/dev/null/x"),
    ],
)
def test_an_impossible_path_ends_in_one_sentence(arguments: tuple[str, ...], tmp_path: Path):
    fleet = _up(*(argument.replace("{tmp}", str(tmp_path)) for argument in arguments))
    said, _ = fleet.communicate(timeout=READY_SECONDS)
    assert fleet.returncode == EXIT_CONFIG
    assert said.startswith("callboard: ")
    assert len(said.splitlines()) == 1

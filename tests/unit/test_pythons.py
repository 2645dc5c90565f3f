"""Every promised interpreter is looked for, and what is not there is not claimed."""

import re
import stat
import sys
from pathlib import Path

import pytest

from tests import pythons

ROOT = Path(__file__).parents[2]


def executable(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_the_versions_tested_are_those_promised():
    text = (ROOT / "pyproject.toml").read_text()
    assert tuple(re.findall(r"Python :: (3\.\d+)", text)) == pythons.PROMISED


def test_a_name_on_the_path_that_does_not_run_is_passed_over(machine: Path):
    executable(machine / "bin" / "python3.12", "exit 127")
    real = executable(machine / "pyenv" / "versions" / "3.12.1" / "bin" / "python", "exit 0")
    assert pythons.find("3.12") == str(real)


@pytest.mark.usefixtures("machine")
def test_what_is_not_there_is_not_found():
    assert pythons.find("3.14") is None


def test_one_more_is_the_newest_that_is_not_running():
    found = {"3.11": "a", "3.12": "b", "3.13": "c"}
    assert pythons.chosen(found, newest=False) == found
    running = f"3.{sys.version_info.minor}"
    assert running not in pythons.chosen(found, newest=True)
    assert len(pythons.chosen(found, newest=True)) == 1

"""The rooms of the house: what stands at the top, and what stands in every actor."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, actors

ROOMS = {"actors", "bus", "schemas", "deploy", "tests"}
PAPERS = {
    "CHANGELOG.md",
    "DECISIONS.md",
    "LICENSE",
    "Makefile",
    "README.md",
    "nats.conf",
    "pyproject.toml",
    "requirements.lock",
}
BUILT = {"dist", "htmlcov"}

ACTOR_ENTRIES = {"__init__.py", "__main__.py", "actor.py", "config.py", "core", "adapters"}
ACTOR_MAY_HAVE = {"README.md", "__pycache__", "flow"}

CORE_LIBRARIES = {"nats-py", "msgspec", "anyio", "httpx", "structlog", "opentelemetry-sdk"}


def test_the_top_level_holds_the_rooms_and_the_papers_and_nothing_else():
    present = {entry.name for entry in ROOT.iterdir() if not entry.name.startswith(".")}

    assert present - BUILT == ROOMS | PAPERS


@pytest.mark.parametrize("actor", actors(), ids=lambda actor: actor.name)
def test_every_actor_has_the_same_six_entries(actor: Path):
    assert {entry.name for entry in actor.iterdir()} - ACTOR_MAY_HAVE == ACTOR_ENTRIES


@pytest.mark.parametrize("actor", actors(), ids=lambda actor: actor.name)
def test_the_first_file_of_an_actor_says_what_it_owns_and_runs_nothing(actor: Path):
    syntax = ast.parse((actor / "__init__.py").read_text(encoding="utf-8"))

    assert ast.get_docstring(syntax)
    assert len(syntax.body) == 1


def test_the_six_core_libraries_are_run_time_dependencies():
    assert set(_dependencies()) >= CORE_LIBRARIES


def test_every_further_dependency_has_its_reason_in_the_decisions():
    reasons = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
    project = _project()
    extras = [name for extra in project["optional-dependencies"].values() for name in _names(extra)]

    assert [
        name
        for name in sorted({*_dependencies(), *extras} - CORE_LIBRARIES)
        if not re.search(rf"^- .*\b{name}\b", reasons, re.MULTILINE)
    ] == []


def test_every_locked_package_has_a_hash_and_none_an_address():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", lock, flags=re.MULTILINE))

    assert [package for package in packages if "--hash=sha256:" not in package] == []
    assert [line for line in lock.splitlines() if "://" in line or line.startswith("-")] == []


def test_every_dependency_is_locked():
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    locked = set(re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE))
    project = _project()
    extras = [name for extra in project["optional-dependencies"].values() for name in _names(extra)]

    assert {*_dependencies(), *extras} - locked == set()


def _project() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def _dependencies() -> list[str]:
    return _names(list(_project()["dependencies"]))


def _names(requirements: list[str]) -> list[str]:
    return [re.split(r"[^A-Za-z0-9-]", requirement)[0] for requirement in requirements]

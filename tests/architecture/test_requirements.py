"""Every requirement that counts as met is tied to the tests that show it."""

import ast
import tomllib
from functools import cache

import pytest

from tests.architecture.tree import ROOT

TABLE = tomllib.loads((ROOT / "tests" / "requirements.toml").read_text(encoding="utf-8"))
REQUIRED: list[str] = TABLE["required"]
TESTS: dict[str, list[str]] = TABLE["tests"]


def test_every_required_row_names_a_test():
    assert [row for row in REQUIRED if not TESTS.get(row)] == []


def test_no_row_stands_twice():
    assert sorted(REQUIRED) == sorted(set(REQUIRED))


@pytest.mark.parametrize("row", sorted(TESTS))
def test_a_row_names_only_tests_that_exist(row: str):
    assert [node for node in TESTS[row] if not exists(node)] == []


@pytest.mark.parametrize(
    "node",
    [
        "tests/architecture/nowhere.py::test_no_row_stands_twice",
        "tests/architecture/test_requirements.py::test_that_was_renamed",
        "tests/architecture/test_requirements.py::exists",
        "tests/architecture/test_requirements.py",
    ],
)
def test_a_wrong_name_is_found_out(node: str):
    assert not exists(node)


def exists(node: str) -> bool:
    """Say whether there is a test of this name."""
    path, _, name = node.partition("::")
    return name in _tests_in(path)


@cache
def _tests_in(path: str) -> frozenset[str]:
    """Return the names of the tests of a file, ``Class::method`` for those in a class."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        names.update(_named(node, prefix=""))
        if isinstance(node, ast.ClassDef):
            for inner in node.body:
                names.update(_named(inner, prefix=f"{node.name}::"))
    return frozenset(names)


def _named(node: ast.stmt, *, prefix: str) -> set[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
        return {prefix + node.name}
    return set()

"""Each row of the requirements says what is asked for and how far it is met, and tests show it."""

import ast
import re
import tomllib
from functools import cache
from typing import Any

import pytest

from tests.architecture.tree import ROOT

ROWS: dict[str, dict[str, Any]] = tomllib.loads(
    (ROOT / "tests" / "requirements.toml").read_text(encoding="utf-8")
)
CHAPTERS = (
    *("A28", "B23", "C24", "D29", "E21", "F11", "G14", "H11"),
    *("I20", "J25", "K8", "L11", "M18", "N11", "O10", "P5"),
)
"""The chapters and how many rows each has: they are numbered without a gap."""

KEYS = {
    "done": {"text", "state", "tests"},
    "partly": {"text", "state", "issue", "lacks", "tests"},
    "not yet": {"text", "state", "issue"},
}
ISSUES = range(13, 25)
MOST = 140
ENCODINGS = ("tests/contract/test_messages.py", "tests/contract/test_bounds.py")
"""They show how a class is encoded and what it refuses, not that anything uses it."""

SKIPPED = re.compile(r"^pytest\.mark\.(skip|xfail)\b")


def test_every_row_that_was_asked_for_is_there():
    wanted = [f"{c[0]}{n:02}" for c in CHAPTERS for n in range(1, int(c[1:]) + 1)]

    assert list(ROWS) == wanted


def test_no_two_rows_ask_for_the_same():
    assert len({row["text"] for row in ROWS.values()}) == len(ROWS)


def test_every_row_says_what_is_asked_for_and_how_far_it_is_met():
    assert {name: found for name, row in ROWS.items() if (found := flaws(row))} == {}


TRUE = {
    "text": "A row is true.",
    "state": "done",
    "tests": ["tests/architecture/test_requirements.py::test_no_two_rows_ask_for_the_same"],
}
ENCODED = f"{ENCODINGS[0]}::test_the_type_field_tells_the_members_of_a_union_apart"


@pytest.mark.parametrize(
    "change",
    [
        {"state": "nearly"},
        {"state": "partly", "issue": 17},
        {"state": "partly", "issue": 17, "lacks": ""},
        {"state": "partly", "lacks": "Half of it."},
        {"state": "not yet", "issue": 17},
        {"lacks": "Half of it."},
        {"tests": []},
        {"tests": ["tests/architecture/test_requirements.py::test_that_was_renamed"]},
        {"tests": [ENCODED]},
        {"text": ""},
        {"text": "no sentence"},
        {"text": f"{'Long ' * MOST}."},
        {"issue": 1},
    ],
    ids=str,
)
def test_a_row_that_claims_more_than_its_tests_show_is_found_out(change: dict[str, Any]):
    assert flaws(TRUE) == []
    assert flaws(TRUE | change) != []


@pytest.mark.parametrize(
    "node",
    [
        "tests/architecture/nowhere.py::test_no_two_rows_ask_for_the_same",
        "tests/architecture/test_requirements.py::test_that_was_renamed",
        "tests/architecture/test_requirements.py::exists",
        "tests/architecture/test_requirements.py",
    ],
)
def test_a_wrong_name_is_found_out(node: str):
    assert not exists(node)


def test_a_test_that_is_never_run_shows_nothing():
    skipped = ast.parse("@pytest.mark.skip(reason='later')\ndef test_it(): ...").body[0]
    conditional = ast.parse("@pytest.mark.skipif(True)\ndef test_it(): ...").body[0]

    assert _named(skipped, prefix="") == set()
    assert _named(conditional, prefix="") == {"test_it"}


def flaws(row: dict[str, Any]) -> list[str]:
    """Return what is wrong with a row: nothing, if it claims what its tests show."""
    keys = KEYS.get(row["state"])
    if keys is None or set(row) != keys:
        return [f"a row of this state has {keys}"]
    tests: list[str] = row.get("tests", [])
    found = [f"there is no {node}" for node in tests if not exists(node)]
    found += [f"{key} is no sentence" for key in ("text", "lacks") if not _said(row.get(key, "A."))]
    if len(set(tests)) < len(tests):
        found.append("a test is named twice")
    if row["state"] != "not yet" and not tests:
        found.append("no test shows it")
    if row["state"] == "done" and all(node.startswith(ENCODINGS) for node in tests):
        found.append("only its encoding is shown")
    if row.get("issue", ISSUES[0]) not in ISSUES:
        found.append("there is no such issue")
    return found


def exists(node: str) -> bool:
    """Say whether there is a test of this name."""
    path, _, name = node.partition("::")
    return name in _tests_in(path)


def _said(text: str) -> bool:
    return text[:1].isupper() and text.endswith(".") and len(text) <= MOST and "\n" not in text


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
        never = any(SKIPPED.search(ast.unparse(mark)) for mark in node.decorator_list)
        return set() if never else {prefix + node.name}
    return set()

"""DECISIONS.md stays short, numbered, indexed and true: what it names exists."""

import re
from typing import NamedTuple

import pytest

from tests.architecture.tree import ROOT

MOST_BYTES = 25 * 1024
TEXT = (ROOT / "DECISIONS.md").read_text(encoding="utf-8")
HEADING = re.compile(r"(\d+)\. .+ \(\d{4}-\d\d-\d\d, (?:stands|replaced by (\d+))\)")
SUFFIX = re.compile(r"\.(conf|json|lock|md|py|toml|yaml)$")
TOP_LEVEL = {path.name for path in ROOT.iterdir()}


class Decision(NamedTuple):
    """One entry: its heading without the marks, and what stands below it."""

    heading: str
    body: str


def _files(text: str) -> set[str]:
    """Return the paths in backticks; ``executions.get`` and ``/healthz`` are none."""
    names = re.findall(r"`([^`\s]+)`", text)
    return {name for name in names if name.split("/")[0] in TOP_LEVEL or SUFFIX.search(name)}


INDEX, *ENTRIES = TEXT.split("\n### ")
DECISIONS = [Decision(*entry.split("\n", 1)) for entry in ENTRIES]
NUMBERS = list(range(1, len(DECISIONS) + 1))


def test_they_fit_into_25_kib():
    assert len(TEXT.encode()) <= MOST_BYTES


def test_they_are_numbered_from_one_without_gaps():
    assert [decision.heading.split(".")[0] for decision in DECISIONS] == list(map(str, NUMBERS))


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.heading)
def test_each_has_a_date_a_status_and_a_file(decision: Decision):
    heading = HEADING.fullmatch(decision.heading)

    assert heading
    assert heading[2] is None or int(heading[1]) < int(heading[2]) <= len(DECISIONS)
    assert _files(decision.body)


@pytest.mark.parametrize("decision", DECISIONS, ids=lambda decision: decision.heading)
def test_each_is_one_paragraph(decision: Decision):
    paragraphs = decision.body.strip().split("\n\n")

    assert [text for text in paragraphs[1:] if not text.startswith("- ")] == []


def test_the_index_names_each_once():
    lines = re.findall(r"^- [^:]+: (.+)$", INDEX, re.MULTILINE)

    assert sorted(int(number) for line in lines for number in line.split(", ")) == NUMBERS


@pytest.mark.parametrize("file", sorted(_files(TEXT)))
def test_a_file_that_is_named_exists(file: str):
    assert (ROOT / file).exists()

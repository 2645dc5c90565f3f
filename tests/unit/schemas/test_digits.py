"""Numbers and names from outside are ASCII, and end where they end."""

from typing import Any, cast

import pytest

from actors.fleet.plan import counts
from bus.codec import accept, encode
from bus.errors import ConfigError, ProblemError
from schemas import documents
from schemas.agents import GetAgent
from schemas.ids import whole
from schemas.reports import ReportCosts
from schemas.streams import ReadStream

NO_DIGITS = [
    "\u0661\u0662",
    "\uff11\uff12",
    "\u00b2",
    "1_0",
    " 1",
    "1\n",
    "+1",
    "-1",
    "",
    "1" * 19,
    "1" * 5000,
]


@pytest.mark.parametrize("text", NO_DIGITS)
def test_a_number_is_written_in_ascii_digits_alone(text: str):
    assert whole(text) is None


def test_a_number_is_read():
    assert (whole("0"), whole("12"), whole("9" * 18)) == (0, 12, 10**18 - 1)


@pytest.mark.parametrize("number", [*NO_DIGITS, "0"])
def test_a_count_of_processes_is_a_number(number: str):
    with pytest.raises(ConfigError):
        counts([f"agents={number}"], "--replicas")


@pytest.mark.parametrize(
    "cursor",
    [
        "1.2\n",
        "1.2\n\n",
        "\n1.2",
        "\u0661.\u0662",
        "1.\u0662",
        "\uff11.\uff12",
        "1.",
        ".2",
        "1.2.3",
        " 1.2",
        "1.-2",
    ],
)
def test_a_cursor_is_two_numbers(cursor: str):
    with pytest.raises(ProblemError) as refused:
        accept(ReadStream, encode({"execution_id": "a", "after": cursor}))
    assert refused.value.problem.field == "after"


@pytest.mark.parametrize("name", ["a\n", "\na", "\uff41", "a.b", "a b", "\u00e9", "", "a" * 65])
def test_an_id_is_a_token(name: str):
    with pytest.raises(ProblemError):
        accept(GetAgent, encode({"agent_id": name}))


@pytest.mark.parametrize(
    "moment",
    ["2026-01-02\n", "\u0662\u0660\u0662\u0666-\u0660\u0661-\u0660\u0662", "2026-01-02T00:00Z\n"],
)
def test_a_moment_is_written_in_ascii_digits(moment: str):
    with pytest.raises(ProblemError) as refused:
        accept(ReportCosts, encode({"since": moment}))
    assert refused.value.problem.field == "since"


def test_no_pattern_of_a_message_lets_a_line_feed_follow():
    patterns = set(_patterns(documents.json_schema()))
    assert len(patterns) > 10
    for pattern in patterns:
        assert not pattern.endswith(("$", r"\Z")), pattern
        assert r"\d" not in pattern, pattern


def _patterns(schema: Any) -> list[str]:
    match schema:
        case dict():
            fields = cast("dict[str, Any]", schema)
            own = [fields["pattern"]] if isinstance(fields.get("pattern"), str) else []
            return own + [each for value in fields.values() for each in _patterns(value)]
        case list():
            items = cast("list[Any]", schema)
            return [each for value in items for each in _patterns(value)]
        case _:
            return []

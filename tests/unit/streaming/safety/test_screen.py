"""What a text is searched for, and that no cut of the stream makes a difference."""

import re
from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.safety.rules import RuleSet, compile_rules
from actors.streaming.core.safety.screen import Screen
from schemas.patterns import MAX_POSITIONS
from schemas.safety import Finding, SafetyOutcome, SafetyPlace, SafetyRule
from schemas.steps import at_once

CARD = SafetyRule(
    name="card", outcome="redacted", patterns=[r"\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}"]
)
NAMES = SafetyRule(name="names", outcome="flagged", words=["Ann", "Anne", "x-ray"])
BOMB = SafetyRule(name="bomb", outcome="blocked", words=["bomb"], patterns=[r"c4!{1,3}"])


def compiled(rules: Sequence[SafetyRule], place: SafetyPlace = "output") -> RuleSet:
    return at_once(compile_rules(rules, place))


def fed(screen: Screen, text: str) -> str:
    return at_once(screen.feed(text))


def passed(text: str, *rules: SafetyRule, cuts: list[int] | None = None) -> tuple[str, Screen]:
    screen = Screen(compiled(rules))
    places = sorted({0, len(text), *(cut for cut in cuts or [] if cut < len(text))})
    out = "".join(fed(screen, text[start:end]) for start, end in pairwise(places))
    return out + screen.finish(), screen


def test_a_text_without_findings_goes_through_unchanged():
    text, screen = passed("Nothing to see: 1234, Anna, bombast.", CARD, NAMES, BOMB)

    assert text == "Nothing to see: 1234, Anna, bombast."
    assert screen.findings() == []


def test_a_redacted_match_is_replaced():
    text, screen = passed("Pay 1234-5678 9012 3456 now, or 1111222233334444", CARD)

    assert text == "Pay [redacted] now, or [redacted]"
    assert screen.findings() == [Finding(rule="card", outcome="redacted", place="output", count=2)]


def test_a_flagged_match_only_counts():
    text, screen = passed("ann, ANNE and an X-Ray. Annex.", NAMES)

    assert text == "ann, ANNE and an X-Ray. Annex."
    assert screen.findings() == [Finding(rule="names", outcome="flagged", place="output", count=3)]


def test_a_blocked_match_ends_the_text_before_it():
    text, screen = passed("A card 1111222233334444 and a bomb, then more", BOMB, CARD)

    assert text == "A card [redacted] and a "
    assert screen.blocked == BOMB
    assert fed(screen, "more") == ""


def test_a_match_is_never_hidden_behind_one_of_another_outcome():
    flagged = SafetyRule(name="long", outcome="flagged", patterns=["a bomb is"])

    assert passed("a bomb is", flagged, BOMB)[1].blocked == BOMB


def test_only_what_may_still_become_a_match_is_held_back():
    screen = Screen(compiled([BOMB]))

    assert [fed(screen, piece) for piece in ("a bo", "at, a b", "om", "bs bomb")] == [
        "a ",
        "boat, a ",
        "",
        "bombs ",
    ]
    assert screen.finish() == ""
    assert screen.blocked == BOMB


def test_a_rule_holds_only_in_its_places():
    rules = [SafetyRule(name="in", outcome="blocked", words=["x"], places=["input"])]

    assert fed(Screen(compiled(rules)), "x") == "x"
    assert fed(Screen(compiled(rules, "input")), "x ") == ""


def test_the_longest_of_several_matches_counts_and_of_equals_the_first_rule():
    rules = [
        SafetyRule(name="short", outcome="redacted", patterns=["ab"], replacement="1"),
        SafetyRule(name="long", outcome="redacted", patterns=["abc"], replacement="2"),
        SafetyRule(name="late", outcome="redacted", patterns=["abc", "bcd"], replacement="3"),
    ]

    assert passed("abcd ab bcd", *rules)[0] == "2d 1 3"


OUTCOMES: list[SafetyOutcome] = ["blocked", "redacted", "flagged"]
PATTERNS = ["ab", "a.b", "[ab]{2,3}c", "b?a", r"\w{3}", r"a\sb", "[^a]b", "c{1,2}b?"]
RULES = st.lists(
    st.builds(
        SafetyRule,
        name=st.sampled_from(["one", "two", "three"]),
        outcome=st.sampled_from(OUTCOMES),
        words=st.lists(st.sampled_from(["ab", "b", "a c"]), max_size=2),
        patterns=st.lists(st.sampled_from(PATTERNS), max_size=2),
        replacement=st.sampled_from(["", "#", "ab"]),
    ),
    max_size=4,
)
TEXT = st.text("abc _\n", max_size=30)


@given(text=TEXT, rules=RULES, cuts=st.lists(st.integers(0, 30), max_size=10))
def test_any_cut_of_the_stream_gives_the_same_outcome(
    text: str, rules: list[SafetyRule], cuts: list[int]
):
    whole, one = passed(text, *rules)
    pieces, other = passed(text, *rules, cuts=cuts)
    single, each = passed(text, *rules, cuts=list(range(30)))

    assert pieces == single == whole
    assert other.findings() == each.findings() == one.findings()
    assert other.blocked == each.blocked == one.blocked


@given(text=TEXT, pattern=st.sampled_from(PATTERNS))
def test_patterns_find_what_regular_expressions_find(text: str, pattern: str):
    rule = SafetyRule(name="r", outcome="redacted", patterns=[pattern], replacement="#")

    assert passed(text, rule)[0] == re.sub(pattern, "#", text, flags=re.IGNORECASE)


@given(text=TEXT, sought=st.sampled_from(["ab", "b", "a c", "c_a"]))
def test_words_are_found_whole(text: str, sought: str):
    rule = SafetyRule(name="r", outcome="redacted", words=[sought], replacement="#")

    assert passed(text, rule)[0] == re.sub(rf"(?<!\w){re.escape(sought)}(?!\w)", "#", text)


def test_the_worst_pattern_takes_a_bounded_time_a_character():
    rule = SafetyRule(name="r", outcome="flagged", patterns=[f".{{1,{MAX_POSITIONS - 1}}}!"])
    screen = Screen(compiled([rule]))

    fed(screen, "a" * 5_000)

    assert max(len(it.searches) for it in screen._matchers.values()) <= MAX_POSITIONS


@pytest.mark.parametrize("text", ["ß", "İ", "ﬁ", "é", "😀", "\ud800"])
def test_any_character_will_do(text: str):
    assert passed(f"a{text}b", BOMB, CARD)[0] == f"a{text}b"

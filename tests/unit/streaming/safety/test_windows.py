"""Windows that are judged before they go out: the same however the stream is cut."""

from collections.abc import Sequence
from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.safety.windows import TextWindow, Windows
from schemas.llm import ToolCall

CALL = ToolCall(id="c", name="n", arguments="{}")


def cut(deltas: Sequence[Delta], size: int = 4) -> list[TextWindow]:
    windows = Windows(size)
    return [one for delta in deltas for one in windows.feed([delta])] + windows.finish()


def test_a_window_is_full_after_so_many_characters_and_knows_what_went_before():
    assert cut([TextDelta("abcdef"), TextDelta("gh"), TextDelta("i")]) == [
        TextWindow([TextDelta("abcd")], "abcd", ""),
        TextWindow([TextDelta("efgh")], "efgh", "abcd"),
        TextWindow([TextDelta("i")], "i", "efgh"),
    ]


def test_a_change_from_reasoning_to_text_ends_a_window():
    assert cut([ReasoningDelta("ab"), TextDelta("c")]) == [
        TextWindow([ReasoningDelta("ab")], "ab", ""),
        TextWindow([TextDelta("c")], "c", ""),
    ]


def test_a_tool_call_is_a_window_of_its_own():
    assert cut([TextDelta("a"), CALL]) == [
        TextWindow([TextDelta("a")], "a", ""),
        TextWindow([CALL], "{}", ""),
    ]


@given(st.lists(st.tuples(st.booleans(), st.text("ab", max_size=9)), max_size=12))
def test_any_cut_of_the_stream_gives_the_same_windows(pieces: list[tuple[bool, str]]):
    deltas = [TextDelta(text) if says else ReasoningDelta(text) for says, text in pieces if text]
    single = [type(delta)(character) for delta in deltas for character in delta.text]
    joined = [kind("".join([each.text for each in run])) for kind, run in groupby(deltas, type)]

    assert cut(deltas) == cut(single) == cut(joined)
    assert "".join(window.text for window in cut(deltas)) == "".join(t for _, t in pieces)

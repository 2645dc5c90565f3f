"""What a Chat Completions stream says it has used, in buckets."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.wires.openai_chat.reader import usage_of
from schemas.usage import Usage
from tests.unit.streaming.chats import (
    DONE,
    chunk,
    event,
    read,
    reader,
)


@pytest.mark.parametrize(
    ("sent", "usage"),
    [
        ({"prompt_tokens": 7, "completion_tokens": 2}, Usage(input=7, output=2)),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 120,
                "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30},
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(input=10, cache_read=60, cache_write=30, output=20, reasoning=15),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 20,
                "total_tokens": 135,
                "completion_tokens_details": {"reasoning_tokens": 15},
            },
            Usage(input=100, output=35, reasoning=15),
        ),
        ({"prompt_tokens": 9, "prompt_cache_hit_tokens": 4}, Usage(input=5, cache_read=4)),
        ({"prompt_tokens": 7.0, "completion_tokens": None}, Usage(input=7)),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 9}},
            Usage(cache_read=5),
        ),
        ({"prompt_tokens": -1, "prompt_tokens_details": None}, Usage()),
        (
            {
                "prompt_tokens": 50,
                "completion_tokens": 30,
                "prompt_tokens_details": {"audio_tokens": 40},
                "completion_tokens_details": {"audio_tokens": 25},
            },
            Usage(input=10, output=5, audio_input=40, audio_output=25),
        ),
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 1,
                "prompt_tokens_details": {"audio_tokens": 50, "cached_tokens": 90},
            },
            Usage(cache_read=50, audio_cached=40, audio_input=10, output=1),
        ),
        ({"prompt_tokens": 9, "cached_tokens": 4}, Usage(input=5, cache_read=4)),
        (
            {
                "prompt_tokens": 9,
                "cache_read_input_tokens": 4,
                "cache_creation_input_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 4},
            },
            Usage(input=2, cache_read=4, cache_write=3),
        ),
        (
            {
                "prompt_tokens": 33,
                "completion_tokens": 7_163,
                "total_tokens": 7_196,
                "citation_tokens": 20_016,
                "num_search_queries": 18,
                "reasoning_tokens": 73_997,
            },
            Usage(input=33, output=101_176, reasoning=73_997, citation=20_016, searches=18),
        ),
    ],
)
def test_usage_goes_into_buckets_that_never_overlap(sent: dict[str, Any], usage: Usage):
    assert usage_of(sent, "exact") == usage


@given(
    prompt=st.integers(0, 100),
    cached=st.integers(0, 100),
    written=st.integers(0, 100),
    heard=st.integers(0, 100),
    heard_again=st.integers(0, 100),
)
def test_the_buckets_of_a_prompt_sum_up_to_what_was_told_of_it(
    prompt: int, cached: int, written: int, heard: int, heard_again: int
):
    details = {
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "audio_tokens": heard,
        "cached_tokens_details": {"audio_tokens": heard_again},
    }
    usage = usage_of({"prompt_tokens": prompt, "prompt_tokens_details": details}, "exact")

    assert usage.prompt == prompt
    assert usage.cache_read + usage.audio_cached == min(cached, prompt)
    assert usage.written == min(written, prompt - min(cached, prompt))
    assert usage.audio_input + usage.audio_cached == min(heard, prompt - usage.written)


def test_the_last_usage_counts_and_none_is_added_up():
    usage = {"prompt_tokens": 7, "completion_tokens": 2}
    events = [
        chunk(content="x"),
        event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1}),
        chunk("stop"),
        event(choices=[], usage=usage, x_groq={"usage": usage}),
        event(choices=[], x_groq={"usage": usage}),
    ]

    assert read(*events, DONE)[1].usage == Usage(input=7, output=2)


def test_missing_usage_is_estimated_and_says_so():
    assert read(chunk(reasoning="Hm..", content="Hello"), chunk("stop"))[1].usage == Usage(
        input=6, output=3, reasoning=1, quality="estimated"
    )


def test_a_cut_call_has_spent_what_the_provider_last_said_else_an_estimate():
    silent, telling = reader(), reader()
    silent.feed(chunk(content="Hello"))
    telling.feed(event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1}))

    assert silent.spent() == Usage(input=6, output=2, quality="estimated")
    assert telling.spent() == Usage(input=7, output=1, quality="partial_stream")
    telling.feed(chunk("stop", content="Hello"))
    assert telling.spent() == Usage(input=7, output=2, quality="estimated")
    telling.feed(event(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 1}))
    assert telling.spent() == Usage(input=7, output=1)

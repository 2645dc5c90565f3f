"""Which of a provider's counts are believed, on every wire."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.decoding import counts
from actors.streaming.core.tokens.reckoning import MOST_OUTPUT, merged, topped
from actors.streaming.core.wires.anthropic.reader import usage_of as messages_usage
from actors.streaming.core.wires.converse.reader import usage_of as converse_usage
from actors.streaming.core.wires.gemini.reader import usage_of as gemini_usage
from actors.streaming.core.wires.openai_chat.reader import usage_of as chat_usage
from actors.streaming.core.wires.openai_responses.reader import usage_of as responses_usage
from schemas.llm import Answer, Wire
from schemas.usage import Usage
from tests.unit.streaming.streams import (
    CALL,
    NOTHING,
    TEXT,
    USED,
    WIRES,
    Said,
    delta,
    reader_of,
    stream,
)
from tests.wires import HELLO, bytewise, play, sse

GUESS = Usage(input=6, output=3, quality="estimated")
"""What is estimated of the request, and of ``TEXT``."""

WORDS: dict[Wire, str] = {
    **dict.fromkeys(WIRES, "stop"),
    "openai_responses": "completed",
    "titan": "FINISH",
}
TOTALS: dict[Wire, str] = {
    "openai_chat": "total_tokens",
    "openai_responses": "total_tokens",
    "converse": "totalTokens",
    "gemini": "totalTokenCount",
}
THOUGHTS: dict[Wire, tuple[str, ...]] = {
    "openai_chat": ("completion_tokens_details", "reasoning_tokens"),
    "openai_responses": ("output_tokens_details", "reasoning_tokens"),
    "anthropic": ("output_tokens_details", "thinking_tokens"),
}
CACHED: dict[Wire, tuple[str, ...]] = {
    "openai_chat": ("prompt_tokens_details", "cached_tokens"),
    "openai_responses": ("input_tokens_details", "cached_tokens"),
    "gemini": ("cachedContentTokenCount",),
}
TYPED: tuple[Wire, ...] = ("titan", "ollama")
"""The wires on which a count of another type is no event of theirs at all."""


def names(wire: Wire) -> tuple[str, str]:
    prompt, output = USED[wire]
    return prompt, output


def used(wire: Wire, **changes: Any) -> dict[str, Any]:
    """Return the usage of a wire with other values for ``prompt``, ``output`` or ``total``."""
    prompt, output = names(wire)
    places = {"prompt": prompt, "output": output, "total": TOTALS.get(wire, "")}
    told = USED[wire] | {places[name]: value for name, value in changes.items()}
    return {name: value for name, value in told.items() if value is not ...}


def nested(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    return value


def billed(wire: Wire, usage: Mapping[str, Any] | None, said: Said = TEXT) -> Usage:
    """Return what an answer with this usage has used, however its bytes are cut."""
    events = stream(wire, said, WORDS[wire], usage)
    outcome = play(reader_of(wire, HELLO), events)
    assert play(reader_of(wire, HELLO), bytewise(b"".join(events))) == outcome
    assert isinstance(outcome[1], Answer), outcome[1]
    return outcome[1].usage


@pytest.mark.parametrize("wire", WIRES)
def test_counts_that_can_be_are_exact(wire: Wire):
    assert billed(wire, used(wire)) == Usage(input=31, output=17)
    assert billed(wire, {name: float(count) for name, count in used(wire).items()}) == Usage(
        input=31, output=17
    )


@pytest.mark.parametrize("wire", WIRES)
def test_nothing_made_beside_a_text_or_a_call_is_estimated(wire: Wire):
    assert billed(wire, used(wire, output=0)) == Usage(input=31, output=3, quality="estimated")
    if wire != "titan":
        assert billed(wire, used(wire, output=0), CALL).quality == "estimated"
        assert billed(wire, used(wire, output=0), CALL).output > 0


@pytest.mark.parametrize("wire", TOTALS)
def test_nothing_made_is_believed_where_the_total_says_so(wire: Wire):
    assert billed(wire, used(wire, output=0, total=31)) == Usage(input=31)
    assert billed(wire, used(wire, output=0, total=0)).quality == "estimated"


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in {"titan", "gemini"}])
def test_nothing_made_is_no_lie_where_nothing_was_said(wire: Wire):
    assert billed(wire, used(wire, output=0), NOTHING) == Usage(input=31)


@pytest.mark.parametrize("wire", TOTALS)
@pytest.mark.parametrize("output", [..., 0, 17])
def test_a_total_that_exceeds_the_parts_gives_the_missing_part(wire: Wire, output: Any):
    assert billed(wire, used(wire, output=output, total=90)) == Usage(input=31, output=59)


@pytest.mark.parametrize("wire", TOTALS)
@pytest.mark.parametrize("prompt", [..., 0])
def test_a_total_gives_a_prompt_that_is_told_nowhere_else(wire: Wire, prompt: Any):
    assert billed(wire, used(wire, prompt=prompt, total=48)) == Usage(input=31, output=17)


def test_geminis_thoughts_are_a_part_of_what_only_the_total_tells():
    thoughts = {"promptTokenCount": 31, "thoughtsTokenCount": 12}

    assert billed("gemini", thoughts | {"totalTokenCount": 60}) == Usage(
        input=31, output=29, reasoning=12
    )
    assert billed("gemini", thoughts) == Usage(
        input=31, output=15, reasoning=12, quality="estimated"
    )
    assert billed("gemini", {"promptTokenCount": 31}) == Usage(
        input=31, output=3, quality="estimated"
    )


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("wrong", [-1, -31, 7.5, 2**25, 10**12, 1e300, 2**64], ids=str)
def test_what_is_no_count_is_estimated_and_the_rest_kept(wire: Wire, wrong: float):
    if wire != "ollama":
        assert billed(wire, used(wire, prompt=wrong)) == Usage(
            input=6, output=17, quality="estimated"
        )
    assert billed(wire, used(wire, output=wrong)) == Usage(input=31, output=3, quality="estimated")


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in TYPED])
@pytest.mark.parametrize("wrong", ["17", "", True, [17], {"tokens": 17}])
def test_what_is_no_number_is_estimated(wire: Wire, wrong: Any):
    assert billed(wire, used(wire, output=wrong)) == Usage(input=31, output=3, quality="estimated")


@pytest.mark.parametrize("wire", WIRES)
def test_an_output_longer_than_any_answer_is_estimated(wire: Wire):
    assert billed(wire, used(wire, output=MOST_OUTPUT + 1)).output == 3
    assert billed(wire, used(wire, output=MOST_OUTPUT)).output == MOST_OUTPUT


@pytest.mark.parametrize("wire", TOTALS)
@pytest.mark.parametrize("total", [-1, 10**12, 20_000_000, 12.5, "90", 1])
def test_a_total_that_cannot_be_gives_nothing(wire: Wire, total: Any):
    assert billed(wire, used(wire, total=total)) == Usage(input=31, output=17)


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire != "ollama"])
def test_a_prompt_of_nothing_is_estimated(wire: Wire):
    assert billed(wire, used(wire, prompt=0)) == Usage(input=6, output=17, quality="estimated")


def test_ollama_leaves_out_the_count_of_a_prompt_that_it_remembers():
    assert billed("ollama", {"eval_count": 17}) == Usage(output=17)
    assert billed("ollama", {"prompt_eval_count": 31}) == Usage(
        input=31, output=3, quality="estimated"
    )
    assert billed("ollama", {}) == GUESS


@pytest.mark.parametrize(("wire", "path"), THOUGHTS.items())
def test_thoughts_are_held_within_the_output(wire: Wire, path: tuple[str, ...]):
    told = billed(wire, used(wire) | nested(path, 400))

    assert (told.output, told.reasoning) == (17, 17)


@pytest.mark.parametrize(("wire", "path"), CACHED.items())
def test_what_was_cached_is_held_within_the_prompt(wire: Wire, path: tuple[str, ...]):
    told = billed(wire, used(wire) | nested(path, 4_000))

    assert (told.input, told.cache_read, told.prompt) == (0, 31, 31)


@pytest.mark.parametrize(("wire", "path"), [*THOUGHTS.items(), *CACHED.items()])
@pytest.mark.parametrize("wrong", [-4, "4", 2.5])
def test_a_detail_that_is_no_count_marks_the_usage(wire: Wire, path: tuple[str, ...], wrong: Any):
    told = billed(wire, used(wire) | nested(path, wrong))

    assert told == Usage(input=31, output=17, quality="estimated")
    assert billed(wire, used(wire) | nested(path, None)).quality == "exact"


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {
                "cache_creation_input_tokens": 10,
                "cache_creation": {"ephemeral_1h_input_tokens": 40},
            },
            Usage(input=31, output=17, cache_write_1h=10),
        ),
        (
            {"cache_creation": {"ephemeral_1h_input_tokens": 4, "ephemeral_5m_input_tokens": 5}},
            Usage(input=31, output=17, cache_write_1h=4, cache_write_5m=5),
        ),
    ],
)
def test_writes_by_their_time_are_held_within_their_sum(told: dict[str, Any], usage: Usage):
    assert messages_usage(USED["anthropic"] | told, "exact") == usage


def test_writes_of_converse_are_held_within_their_sum():
    details = [{"ttl": "1h", "inputTokens": 7}, {"ttl": "5m", "inputTokens": 9}]
    told = USED["converse"] | {"cacheWriteInputTokens": 10, "cacheDetails": details}

    assert converse_usage(told, "exact") == Usage(
        input=31, output=17, cache_write_1h=7, cache_write_5m=3
    )


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        # Anthropic's own names stand beside the prompt; the total shows it of any.
        ({"cache_read_input_tokens": 900}, Usage(input=31, output=17, cache_read=900)),
        (
            {"prompt_tokens_details": {"cached_tokens": 20}, "total_tokens": 68},
            Usage(input=31, output=17, cache_read=20),
        ),
        (
            {"prompt_tokens_details": {"cached_tokens": 20}, "total_tokens": 48},
            Usage(input=11, output=17, cache_read=20),
        ),
        (
            {"prompt_tokens_details": {"audio_tokens": 500}},
            Usage(output=17, audio_input=31),
        ),
        (
            {"completion_tokens_details": {"audio_tokens": 500}},
            Usage(input=31, audio_output=17),
        ),
    ],
)
def test_a_chats_details_are_inside_unless_it_is_shown(told: dict[str, Any], usage: Usage):
    assert chat_usage(USED["openai_chat"] | told, "exact") == usage


def test_geminis_pictures_and_sounds_are_held_within_the_candidates():
    rows = [
        {"modality": "IMAGE", "tokenCount": 12},
        {"modality": "AUDIO", "tokenCount": 90},
    ]

    told = gemini_usage(USED["gemini"] | {"candidatesTokensDetails": rows}, "exact")

    assert told == Usage(input=31, image_output=12, audio_output=5)


# What is told several times


def test_a_chats_counts_never_shrink():
    events = [
        sse({"choices": [], "usage": {"prompt_tokens": 31, "completion_tokens": 17}}),
        delta("stop", content=TEXT.text),
        sse({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 9}}),
        sse({"choices": [], "usage": {"prompt_tokens": None, "total_tokens": 48}}),
        sse("[DONE]"),
    ]

    _, outcome = play(reader_of("openai_chat", HELLO), events)

    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(input=31, output=17)


@pytest.mark.parametrize(
    "end",
    [
        {"output_tokens": 17},
        {"input_tokens": 0, "output_tokens": 17},
        {"input_tokens": None, "cache_read_input_tokens": 0, "output_tokens": 17},
        {"input_tokens": -1, "output_tokens": 17},
        {"input_tokens": "", "output_tokens": 17},
    ],
)
def test_the_end_of_a_message_does_not_erase_what_its_start_has_told(end: dict[str, Any]):
    start = {"input_tokens": 31, "cache_read_input_tokens": 700, "output_tokens": 1}
    events = [
        sse({"type": "message_start", "message": {"usage": start}}),
        *stream("anthropic", TEXT, "end_turn", end),
    ]

    _, outcome = play(reader_of("anthropic", HELLO), events)

    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(input=31, cache_read=700, output=17)


def test_geminis_last_chunk_does_not_erase_what_an_earlier_one_has_told():
    first = USED["gemini"] | {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 31}]}
    events = [
        sse({"usageMetadata": first}),
        *stream("gemini", TEXT, "STOP", {"promptTokenCount": 0, "trafficType": "ON_DEMAND"}),
    ]

    _, outcome = play(reader_of("gemini", HELLO), events)

    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(input=31, output=17)


def test_an_output_that_was_told_before_the_text_is_at_least_what_the_text_is_estimated_at():
    start = {"input_tokens": 31, "output_tokens": 1}
    events = [
        sse({"type": "message_start", "message": {"usage": start}}),
        *stream("anthropic", TEXT, "end_turn", None),
    ]

    _, outcome = play(reader_of("anthropic", HELLO), events)

    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(input=31, output=3, quality="estimated")


def test_a_zero_that_was_told_before_the_text_confirms_nothing():
    early = {"prompt_tokens": 31, "completion_tokens": 0, "total_tokens": 31}
    events = [
        sse({"choices": [{"delta": {"role": "assistant"}}], "usage": early}),
        delta("stop", content=TEXT.text),
        sse("[DONE]"),
    ]

    _, outcome = play(reader_of("openai_chat", HELLO), events)

    assert isinstance(outcome, Answer)
    assert outcome.usage == Usage(input=31, output=3, quality="estimated")


# The rules themselves

COUNTS = st.none() | st.integers(-3, 60) | st.floats(-2, 9) | st.text(max_size=2) | st.just(2**40)
USAGES = st.dictionaries(
    st.sampled_from([*USED["openai_chat"], "total_tokens", "reasoning_tokens"]), COUNTS
) | st.dictionaries(st.just("prompt_tokens_details"), st.dictionaries(st.just("x"), COUNTS))


@given(told=st.lists(USAGES, max_size=5))
def test_no_count_shrinks_and_the_order_makes_no_difference(told: list[dict[str, Any]]):
    total: dict[str, Any] = {}
    for usage in told:
        grown = merged(total, usage)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            assert counts.at(grown, name) == max(counts.at(total, name), counts.at(usage, name))
        total = grown


PARTS = st.integers(0, 500)


@given(
    usage=st.builds(Usage, input=PARTS, cache_read=PARTS, output=PARTS, reasoning=PARTS),
    total=st.integers(0, 2_000),
)
def test_a_total_adds_what_is_missing_and_takes_nothing_away(usage: Usage, total: int):
    topped_up = topped(usage, total)

    assert topped_up.reasoning <= topped_up.output
    assert topped_up.prompt >= usage.prompt
    assert topped_up.made >= usage.made
    if usage.total:
        assert topped_up.total == max(usage.total, total)


ANY = st.none() | st.integers(-5, 2**26) | st.floats() | st.text(max_size=3) | st.booleans()


@pytest.mark.parametrize("wire", [wire for wire in WIRES if wire not in TYPED])
@given(data=st.data())
def test_whatever_is_told_an_answer_is_billed_within_bounds(wire: Wire, data: st.DataObject):
    fields = st.sampled_from(
        [*names(wire), *([TOTALS[wire]] if wire in TOTALS else []), *(("x",))]
    ) | st.sampled_from([*(path[0] for path in (THOUGHTS | CACHED).values())])
    values = ANY | st.dictionaries(st.sampled_from(["cached_tokens", "reasoning_tokens"]), ANY)
    told = data.draw(st.dictionaries(fields, values, max_size=6))

    written = msgspec.json.decode(msgspec.json.encode(told))
    usage = billed(wire, written)

    assert usage.made > 0 or (usage.quality == "exact" and usage.prompt > 0)
    assert usage.prompt > 0 or usage.quality == "exact"
    assert usage.reasoning <= usage.output <= MOST_OUTPUT + 10


@given(prompt=PARTS, output=PARTS, thoughts=PARTS, cached=PARTS)
def test_a_responses_parts_are_within_it(prompt: int, output: int, thoughts: int, cached: int):
    usage = responses_usage(
        {
            "input_tokens": prompt,
            "output_tokens": output,
            "input_tokens_details": {"cached_tokens": cached},
            "output_tokens_details": {"reasoning_tokens": thoughts},
        },
        "exact",
    )

    assert (usage.prompt, usage.made) == (prompt, output)
    assert usage.reasoning <= usage.output

"""What servers that speak Chat Completions, or nearly that, send beside what is recorded."""

from typing import Any

import pytest

from actors.streaming.core.wires.openai_chat.reader import ChatReader
from schemas.llm import ToolCall
from schemas.usage import Usage
from tests.wires import refused, sse, told


def delta(finish: str | None = None, /, **grown: Any) -> bytes:
    return sse({"choices": [{"index": 0, "delta": grown, "finish_reason": finish}]})


def usage(prompt: int = 7, output: int = 2, **more: Any) -> dict[str, Any]:
    return {"prompt_tokens": prompt, "completion_tokens": output, **more}


def call(index: int | None, call_id: Any, name: str | None, arguments: str) -> dict[str, Any]:
    function = {"name": name, "arguments": arguments}
    return {"index": index, "id": call_id, "type": "function", "function": function}


DONE = sse("[DONE]")


def test_probabilities_and_annotations_stand_beside_the_text_and_are_no_part_of_it():
    probable = {"content": [{"token": "Hi", "logprob": -0.1, "bytes": [72], "top_logprobs": []}]}
    cited = [{"type": "url_citation", "url_citation": {"url": "https://x", "start_index": 0}}]
    grown = {"content": "Hi", "annotations": cited}
    choice = {"index": 0, "delta": grown, "logprobs": probable, "finish_reason": None}

    answer = told(ChatReader, sse({"choices": [choice]}), delta("stop"), DONE)

    assert (answer.text, answer.finish_reason) == ("Hi", "stop")


def test_of_two_interleaved_choices_the_first_ends_the_answer_and_the_second_never():
    def of(index: int, text: str, finish: str | None = None) -> bytes:
        choice = {"index": index, "delta": {"content": text}, "finish_reason": finish}
        return sse({"choices": [choice]})

    both = {"choices": [], "usage": usage(7, 4)}
    stream = [of(1, "B"), of(0, "A"), of(1, "", "length"), of(0, "a"), of(0, "", "stop")]

    answer = told(ChatReader, *stream, sse(both), DONE)

    assert (answer.text, answer.finish_reason) == ("Aa", "stop")
    assert answer.usage == Usage(input=7, output=4)


def test_calls_may_leave_gaps_between_their_indexes():
    first, second = call(0, "a", "f", '{"x":'), call(3, "b", "g", "{}")
    rest = call(0, None, None, "1}")

    answer = told(
        ChatReader,
        delta(tool_calls=[first]),
        delta(tool_calls=[second]),
        delta(tool_calls=[rest]),
        delta("tool_calls"),
    )

    assert answer.tool_calls == [
        ToolCall(id="a", name="f", arguments='{"x":1}'),
        ToolCall(id="b", name="g", arguments="{}"),
    ]


def test_an_id_may_be_a_number():
    answer = told(ChatReader, delta(tool_calls=[call(0, 0, "f", "{}")]), delta("tool_calls"), DONE)

    assert answer.tool_calls == [ToolCall(id="0", name="f", arguments="{}")]


def test_azure_says_what_its_filter_found_in_chunks_that_say_nothing_else():
    prompt = {"choices": [], "id": "", "model": "", "prompt_filter_results": [{"prompt_index": 0}]}
    offsets = {"content_filter_offsets": {"start_offset": 0}, "content_filter_results": {}}
    later = {"choices": [{"index": 0, "finish_reason": None, **offsets}], "model": ""}
    filtered = {"hate": {"filtered": True, "severity": "high"}}
    end = {"index": 0, "delta": {}, "finish_reason": "content_filter"}

    answer = told(
        ChatReader,
        sse(prompt),
        delta(content="So"),
        sse(later),
        sse({"choices": [end | {"content_filter_results": filtered}]}),
        DONE,
    )

    assert (answer.text, answer.finish_reason) == ("So", "content_filter")


def test_deepseek_thinks_first_between_signs_of_life_and_counts_its_cache_by_other_names():
    alive = b": keep-alive\n\n"
    counted = usage(10, 5, prompt_cache_hit_tokens=4, prompt_cache_miss_tokens=6) | {
        "completion_tokens_details": {"reasoning_tokens": 3}
    }

    answer = told(
        ChatReader,
        alive,
        delta(role="assistant", content=None, reasoning_content="Hm"),
        alive,
        delta(content="Hi", reasoning_content=None),
        sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": counted}),
        DONE,
    )

    assert (answer.reasoning, answer.text) == ("Hm", "Hi")
    assert answer.usage == Usage(input=6, cache_read=4, output=5, reasoning=3)


def test_vllm_may_count_with_every_chunk_and_name_reasoning_twice():
    def counting(output: int, **grown: Any) -> bytes:
        choice = {"index": 0, "delta": grown, "finish_reason": None, "token_ids": None}
        return sse({"choices": [choice], "usage": usage(7, output)})

    answer = told(
        ChatReader,
        counting(0, role="assistant", content=""),
        counting(1, reasoning="Hm", reasoning_content="Hm"),
        counting(2, content="Hi"),
        delta("stop", content=""),
        sse({"choices": [], "usage": usage(7, 3)}),
        DONE,
    )

    assert (answer.reasoning, answer.text, answer.usage) == ("Hm", "Hi", Usage(input=7, output=3))


def test_mistral_sends_parts_and_references_and_stops_at_the_models_length():
    parts = [{"type": "text", "text": "Hi"}, {"type": "reference", "reference_ids": [1]}]

    answer = told(ChatReader, delta(content=parts), delta("model_length", content=""), DONE)

    assert (answer.text, answer.finish_reason) == ("Hi", "length")


def test_groq_runs_tools_of_its_own_which_are_no_calls():
    ran = [{"index": 0, "type": "search", "arguments": "{}", "output": "x"}]
    ended = {
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
        "x_groq": {"id": "req_1", "usage": usage(9, 4)},
        "usage": usage(9, 4),
    }

    answer = told(ChatReader, delta(executed_tools=ran), delta(content="Hi"), sse(ended), DONE)

    assert (answer.text, answer.tool_calls, answer.usage) == ("Hi", [], Usage(input=9, output=4))


def test_the_input_of_a_custom_tool_is_the_arguments_of_its_call():
    def part(call_id: str | None, index: int = 0, **custom: str) -> dict[str, Any]:
        return {"index": index, "id": call_id, "type": "custom", "custom": custom}

    answer = told(
        ChatReader,
        delta(tool_calls=[part("a", name="sql", input="")]),
        delta(tool_calls=[part(None, input="SELECT ")]),
        delta(tool_calls=[part(None, input="1")]),
        delta(tool_calls=[part("b", 1, name="run", input="x")]),
        delta("tool_calls"),
        DONE,
    )

    assert answer.tool_calls == [
        ToolCall(id="a", name="sql", arguments="SELECT 1"),
        ToolCall(id="b", name="run", arguments="x"),
    ]


def test_moonshot_counts_within_the_choice_and_a_count_of_its_own_is_the_last_word():
    def ended(output: int) -> bytes:
        choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": usage(7, output)}
        return sse({"choices": [choice]})

    within = told(ChatReader, delta(content="Hi"), ended(2), DONE)
    besides = told(
        ChatReader, delta(content="Hi"), ended(2), sse({"choices": [], "usage": usage(7, 3)}), DONE
    )

    assert within.usage == Usage(input=7, output=2)
    assert besides.usage == Usage(input=7, output=3)


def test_what_openrouter_tells_of_reasoning_goes_back_with_its_calls_put_together():
    def thought(text: str | None, *details: dict[str, Any]) -> bytes:
        return delta(content="", reasoning=text, reasoning_details=list(details))

    piece = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
    sealed = {"type": "reasoning.encrypted", "data": "b3BhcXVl", "id": "rs_1"}

    answer = told(
        ChatReader,
        thought("Let me ", piece | {"text": "Let me ", "signature": None}),
        thought("see.", piece | {"text": "see."}),
        thought(None, piece | {"signature": "c2ln"}, sealed),
        thought(None),
        delta(tool_calls=[call(0, "a", "f", "{}")]),
        delta("tool_calls"),
        DONE,
    )

    whole = piece | {"text": "Let me see.", "signature": "c2ln"}
    assert answer.reasoning == "Let me see."
    assert [block.raw for block in answer.blocks] == [{"reasoning_details": [whole, sealed]}]


@pytest.mark.parametrize("strange", ["text", {"a": 1}, [None, "x", 3], [{"index": "0"}]])
def test_details_of_another_shape_harm_nothing(strange: Any):
    answer = told(ChatReader, delta(content="Hi", reasoning_details=strange), delta("stop"), DONE)

    assert (answer.text, answer.blocks) == ("Hi", [])


def test_databricks_sums_reasoning_up_in_a_part_of_its_own():
    summed = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Hm"}]}

    answer = told(
        ChatReader,
        delta(content=[summed]),
        delta(content=[{"type": "text", "text": "Hi"}]),
        delta("stop"),
        DONE,
    )

    assert (answer.reasoning, answer.text) == ("Hm", "Hi")


def test_text_generation_inference_sends_fragments_alone_and_names_its_token_of_the_end():
    answer = told(
        ChatReader,
        delta(role="assistant", tool_calls=call(0, "", "f", '{"x":')),
        delta(role="assistant", tool_calls=call(0, "", None, "1}")),
        delta("eos_token", content=""),
        DONE,
    )

    assert answer.tool_calls == [ToolCall(id="call_0", name="f", arguments='{"x":1}')]
    assert (answer.finish_reason, answer.provider_finish_reason) == ("tool_calls", "eos_token")


OPENROUTER = {
    "id": "gen-1",
    "provider": "X",
    "error": {"code": 429, "message": "secret"},
    "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
}


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        pytest.param(sse(OPENROUTER), ("rate_limited", True), id="OpenRouter"),
        pytest.param(
            sse({"choices": [{"index": 0, "error": {"code": 503, "message": "secret"}}]}),
            ("provider_overloaded", True),
            id="OpenRouter, of the choice",
        ),
        pytest.param(
            sse({"error": {"code": "429", "message": "secret"}}), ("rate_limited", True), id="Azure"
        ),
        pytest.param(
            sse({"object": "error", "message": "secret", "type": "x", "code": 400}),
            ("provider_error", False),
            id="vLLM, older",
        ),
        pytest.param(
            sse({"x_groq": {"id": "r", "error": "secret"}}), ("provider_error", True), id="Groq"
        ),
        pytest.param(
            sse({"error": {"message": "secret", "code": "rate_limit_exceeded"}}, "error"),
            ("rate_limited", True),
            id="Groq, named",
        ),
        pytest.param(
            delta("insufficient_system_resource"), ("provider_error", True), id="DeepSeek"
        ),
        pytest.param(delta("abort"), ("provider_error", True), id="vLLM, SGLang"),
        pytest.param(sse({"error": "secret"}), ("provider_error", True), id="a mere text"),
    ],
)
def test_an_error_in_mid_stream_is_typed_whoever_sends_it(event: bytes, expected: Any):
    assert refused(ChatReader, delta(content="Hel"), event, DONE) == expected

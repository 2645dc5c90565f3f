import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.adapters.script_turns import ScriptTurn, ScriptTurns
from actors.streaming.core.errors.faults import ProviderFaultError
from actors.streaming.core.wires import scripted as script
from actors.streaming.core.wires.scripted import ScriptPlan
from bus.errors import UnavailableError
from bus.kv import BucketEntry, MemoryBucket
from schemas.llm import Answer, ChatMessage, GenerateRequest, ModelConfig, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted, ScriptedCalls, ScriptedFailure, ScriptedTool
from schemas.usage import Usage

PLAY = Scripted(responses=["one two three", "four"])


def request(play: Scripted = PLAY, *, max_tokens: int | None = None) -> GenerateRequest:
    return GenerateRequest(
        provider=play,
        messages=[ChatMessage(role="user", content="say something now")],
        config=ModelConfig(max_tokens=max_tokens),
    )


@given(st.text())
def test_the_words_joined_are_the_text(text: str):
    assert "".join(script.words(text)) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("one", ("one",)),
        ("one two", ("one", " two")),
        ("  one\n\ntwo ", ("  one", "\n\ntwo ")),
        (" \n", (" \n",)),
    ],
)
def test_a_text_is_cut_before_its_spaces(text: str, words: tuple[str, ...]):
    assert script.words(text) == words


def test_responses_are_played_in_turn():
    turns = [script.plan(request(), PLAY, turn=turn, attempt=1) for turn in range(3)]

    first = ScriptPlan(("one", " two", " three"), "stop", None)
    assert turns == [first, ScriptPlan(("four",), "stop", None), first]


def test_the_answer_is_the_response_with_a_token_a_word():
    plan = script.plan(request(), PLAY, turn=0, attempt=1)

    assert script.answer(request(), plan) == Answer(
        text="one two three",
        finish_reason="stop",
        usage=Usage(input=3, output=3),
        model_served="scripted",
    )


def test_the_token_limit_cuts_the_response():
    limited = request(max_tokens=2)
    plan = script.plan(limited, PLAY, turn=0, attempt=1)

    assert plan == ScriptPlan(("one", " two"), "length", None)
    assert script.plan(request(max_tokens=3), PLAY, turn=0, attempt=1).finish_reason == "stop"


def test_a_failure_strikes_the_attempt_it_names_after_the_words_it_names():
    fails = ScriptedFailure(call=1, code="rate_limited", after_words=2, retry_after=1.5)
    play = Scripted(responses=["one two three"], failures=[fails])

    plans = [script.plan(request(play), play, turn=0, attempt=attempt) for attempt in (1, 2, 3)]

    whole = ScriptPlan(("one", " two", " three"), "stop", None)
    limited = Problem(
        code="rate_limited",
        message="The provider limits the rate of requests, as scripted.",
        retryable=True,
        retry_after=1.5,
    )
    assert plans == [whole, ScriptPlan(("one", " two"), "other", limited), whole]


def test_a_refused_key_is_not_tried_again():
    fails = ScriptedFailure(call=0, code="unauthorized")
    play = Scripted(responses=["x"], failures=[fails])
    plan = script.plan(request(play), play, turn=0, attempt=1)

    assert plan.failure is not None
    assert not plan.failure.retryable


async def test_processes_share_the_turns_of_a_script_and_no_call_has_the_turn_of_another():
    bucket = MemoryBucket(ScriptTurn)
    processes = [ScriptTurns(bucket), ScriptTurns(bucket)]
    script = Scripted(responses=["one", "two", "three"])
    other = Scripted(responses=["one", "two"])

    apart = [await processes[n % 2].take("acme", script) for n in range(4)]
    assert apart == [0, 1, 2, 3]
    assert await processes[1].take("acme", other) == 0
    assert await processes[0].take("globex", script) == 0

    taken: list[int] = []

    async def take(process: ScriptTurns) -> None:
        taken.append(await process.take("acme", other))

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(take, processes[n % 2])
    assert sorted(taken) == list(range(1, 21))


class Unreachable(MemoryBucket[ScriptTurn]):
    async def get(self, key: str) -> BucketEntry[ScriptTurn] | None:
        raise UnavailableError("scripts", key)


async def test_a_script_of_one_response_counts_nothing_and_others_say_that_they_cannot():
    turns = ScriptTurns(Unreachable(ScriptTurn))

    assert await turns.take("acme", Scripted(responses=["one"])) == 0
    with pytest.raises(ProviderFaultError) as refused:
        await turns.take("acme", Scripted(responses=["one", "two"]))
    assert refused.value.problem.code == "unavailable"


def test_a_script_that_asks_for_tools_goes_on_as_often_as_they_have_answered():
    asks = ScriptedCalls(calls=[ScriptedTool(name="find", arguments={"a": 1})], text="Let me see.")
    play = Scripted(responses=[asks, "Found."])
    first = script.plan(request(play), play, turn=7, attempt=1)
    call = ToolCall(id="call_0_0", name="find", arguments='{"a":1}')
    messages = [
        *request(play).messages,
        ChatMessage(role="assistant", content="Let me see.", tool_calls=[call]),
        ChatMessage(role="tool", content="two", tool_call_id="call_0_0"),
    ]
    second = script.plan(GenerateRequest(provider=play, messages=messages), play, turn=7, attempt=1)

    assert (first.calls, first.finish_reason) == ((call,), "tool_calls")
    assert script.answer(request(play), first).tool_calls == [call]
    assert ("".join(second.words), second.calls) == ("Found.", ())

"""Prompts that are read for attempts: whole, within a bound, and refused in words."""

from collections.abc import AsyncGenerator
from datetime import timedelta

import anyio
import msgspec
import pytest

from actors.streaming.adapters.conversation import ConversationStore
from actors.streaming.adapters.prompts import PromptReader, is_whole
from bus.bodies import Bodies, holder_of
from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.memory import MemoryProcess, memory_bus
from schemas.lifecycle import NOTHING_SENT, FinishGeneration, GenerateWork, Prompt
from schemas.llm import Answer, ChatMessage, GenerateRequest, ToolCall
from schemas.policy import Cache, Policy
from schemas.providers import Scripted
from schemas.tools import ToolResult, ToolText, Turn
from schemas.usage import Usage

PROVIDER = Scripted(responses=["Hi."])
WHOLE = Prompt(
    request=GenerateRequest(
        provider=PROVIDER, messages=[ChatMessage(role="user", content="Read: " + "x" * 20_000)]
    ),
    policy=Policy(cache=Cache()),
)


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus() as world, world.process() as process:
        yield process


async def work(bus: MemoryProcess, *, seconds: float = 60) -> GenerateWork:
    holder = holder_of("execution", 1, "acme", "e1")
    return GenerateWork(
        execution_id="e1",
        tenant="acme",
        step=1,
        attempt=1,
        segment=1,
        deadline=bus.clock() + timedelta(seconds=seconds),
        request=GenerateRequest(provider=PROVIDER, messages=[]),
        prompt=await Bodies(bus.blobs).put(encode(WHOLE), holder),
    )


async def test_request_and_policy_are_those_that_were_stored(bus: MemoryProcess):
    async with PromptReader(bus, Slices()).whole(await work(bus)) as whole:
        assert (whole.request, whole.policy, whole.prompt) == (WHOLE.request, WHOLE.policy, None)


async def test_small_work_is_left_as_it_is(bus: MemoryProcess):
    small = msgspec.structs.replace(await work(bus), prompt=None)
    async with PromptReader(bus, Slices()).whole(small) as whole:
        assert whole is small


async def test_only_a_request_without_prompt_tools_and_calls_is_sent_as_it_came(bus: MemoryProcess):
    apart = await work(bus)
    plain = msgspec.structs.replace(apart, prompt=None)
    call = ToolCall(id="a", name="get", arguments="{}")
    called = ChatMessage(role="assistant", content="", tool_calls=[call])
    history = msgspec.structs.replace(plain.request, messages=[called])

    assert is_whole(plain)
    assert not is_whole(apart)
    assert not is_whole(msgspec.structs.replace(plain, tools=True))
    assert not is_whole(msgspec.structs.replace(plain, request=history))


async def test_turns_stand_behind_the_messages_also_where_no_id_is_rewritten(bus: MemoryProcess):
    plain = msgspec.structs.replace(await work(bus), prompt=None, tools=True)
    said = ChatMessage(role="assistant", content="Let me see.")
    going_on = msgspec.structs.replace(plain, turns=[Turn(message=said)])

    async with PromptReader(bus, Slices()).whole(going_on) as whole:
        assert whole.request.messages == [said]


async def test_a_prompt_that_is_gone_is_refused_for_good(bus: MemoryProcess):
    lost = await work(bus)
    assert lost.prompt is not None
    await bus.blobs.remove(lost.prompt.name)
    with pytest.raises(ProblemError) as refused:
        async with PromptReader(bus, Slices()).whole(lost):
            pass
    assert (refused.value.problem.code, refused.value.problem.retryable) == ("corrupt", False)
    assert "xxx" not in str(refused.value)


async def test_prompts_wait_for_room_and_one_is_always_read(bus: MemoryProcess):
    prompts, seen = PromptReader(bus, Slices(), most=100), list[int]()
    first, second = await work(bus), await work(bus)

    async def read(each: GenerateWork, number: int) -> None:
        async with prompts.whole(each):
            seen.append(number)

    async with anyio.create_task_group() as tasks:
        async with prompts.whole(first):
            tasks.start_soon(read, second, 2)
            tasks.start_soon(read, second, 3)
            await anyio.sleep(0.05)
            assert seen == []
        with anyio.fail_after(5):
            while len(seen) < 2:
                await anyio.sleep(0.01)


async def test_who_finds_no_room_until_the_deadline_may_try_again(bus: MemoryProcess):
    prompts = PromptReader(bus, Slices(), most=100)
    late = await work(bus, seconds=0.05)
    async with prompts.whole(await work(bus)):
        with pytest.raises(ProblemError) as refused:
            async with prompts.whole(late):
                pass
    assert refused.value.problem.retryable


async def test_results_that_lie_apart_are_read_and_the_conversation_goes_on(bus: MemoryProcess):
    holder = holder_of("execution", 1, "acme", "e1")
    large = ToolResult(content=[ToolText(text="y" * 20_000)])
    stored = await Bodies(bus.blobs).put(encode(large), holder)
    calls = [ToolCall(id="c1", name="find", arguments="{}")]
    given = msgspec.structs.replace(
        await work(bus),
        step=2,
        tools=True,
        turns=[
            Turn(message=ChatMessage(role="assistant", content="", tool_calls=calls)),
            Turn(
                message=ChatMessage(role="tool", content="", tool_call_id="c1"),
                result=ToolResult(content=[ToolText(text="y")], reference=stored),
            ),
        ],
    )
    slices = Slices()
    answer = Answer(text="Again.", finish_reason="tool_calls", usage=Usage(), tool_calls=calls)
    async with PromptReader(bus, slices).whole(given) as whole:
        finished = FinishGeneration(
            work="2", attempt=1, answer=answer, deltas=NOTHING_SENT, started_at=bus.clock()
        )
        kept = await ConversationStore(bus, 1, slices).kept(given, whole, finished)

    messages = whole.request.messages
    assert [message.role for message in messages] == ["user", "assistant", "tool"]
    assert messages[-1].text == "y" * 20_000
    assert kept.prompt is not None
    prompt = decode(Prompt, await Bodies(bus.blobs).get(kept.prompt))
    assert isinstance(prompt.request, GenerateRequest)
    assert [one.role for one in prompt.request.messages] == [
        "user",
        "assistant",
        "tool",
        "assistant",
    ]
    assert prompt.own_from == 1

"""Attempts that go through alternatives: other keys, other providers, the rest of a cut answer."""

import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import msgspec
import pytest

from actors.streaming.flow.generation import Generator
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import Answer, ChatMessage, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.providers import Ollama
from schemas.streams import StreamEvent
from schemas.usage import Usage
from tests.attempts import KEY, at, detour, generating, ignore, text_of, work
from tests.providers_fake import (
    DONE,
    Behaviour,
    FakeProvider,
    answering,
    breaking,
    chunk,
    event,
    fake_provider,
    in_turn,
    refusing,
    sending,
)

JSON = {"content-type": "application/json"}
HALF = event(chunk("Once upon "))
OVERLOADED = refusing(503)
LIMITED = refusing(429, headers={"retry-after": "30"})
CUT_USAGE = Usage(input=6, output=3, quality="estimated")


@asynccontextmanager
async def fakes(*behaviours: Behaviour) -> AsyncGenerator[list[FakeProvider]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(fake_provider(each)) for each in behaviours]


async def played(
    generator: Generator, fake: list[FakeProvider], place: int = 0, **policy: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent]]:
    """Run an attempt at the first fake with the others as fallbacks; return it and its events."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    others = [Fallback(provider=at(one)) for one in fake[1:]]
    item = at_place(work(at(fake[0])), place, Policy(fallbacks=others, **policy))
    with anyio.fail_after(20):
        return await generator.run(item, emit), events


def at_place(item: GenerateWork, place: int, policy: Policy) -> GenerateWork:
    return msgspec.structs.replace(item, policy=policy, place=place)


# Other providers


async def test_before_the_first_delta_another_provider_takes_over_in_silence():
    async with fakes(OVERLOADED, answering("Hi", "!")) as fake, generating() as generator:
        result, events = await played(generator, fake)

    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, result.place) == ("Hi!", 1)
    assert result.detours == [detour("provider_overloaded")]
    assert text_of(events) == "Hi!"
    assert [each.sequence for each in events] == list(range(len(events)))


async def test_after_the_first_delta_the_owner_is_told_where_another_attempt_can_begin():
    async with fakes(breaking(HALF), answering("Hi")) as fake, generating() as generator:
        first, events = await played(generator, fake)
        second, _ = await played(generator, fake, place=1)

    assert isinstance(first, FailGeneration)
    assert first.next_place == 1
    assert first.usage == CUT_USAGE
    assert text_of(events) == "Once upon "
    assert isinstance(second, FinishGeneration)
    assert (second.answer.text, second.place, second.detours) == ("Hi", 1, [])


async def test_when_all_have_failed_the_last_one_says_why_and_all_are_counted():
    async with (
        fakes(breaking(), refusing(401), OVERLOADED) as fake,
        generating() as generator,
    ):
        result, _ = await played(generator, fake)

    spent = Usage(input=6, quality="estimated")
    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.next_place) == ("provider_overloaded", None)
    assert result.usage == spent
    assert result.detours == [
        detour("provider_error", spent),
        detour("unauthorized", place=1),
        detour("provider_overloaded", place=2),
    ]


async def test_a_content_filter_is_not_got_round_by_a_fallback():
    filtered = refusing(400, {"code": "content_filter"})
    async with fakes(filtered, answering("Hi")) as fake, generating() as generator:
        result, _ = await played(generator, fake)

        assert isinstance(result, FailGeneration)
        assert fake[1].bodies == []


async def test_a_fallback_is_asked_with_its_own_settings():
    async with fakes(OVERLOADED, answering("Hi")) as fake, generating() as generator:
        other = Fallback(provider=at(fake[1]), config=ModelConfig(temperature=0.9))
        item = work(at(fake[0]), config=ModelConfig(seed=1))
        await generator.run(at_place(item, 0, Policy(fallbacks=[other])), _ignore)

        assert "seed" in fake[0].bodies[0]
        assert fake[1].bodies[0]["temperature"] == 0.9
        assert "seed" not in fake[1].bodies[0]


# Keys


async def test_a_refused_key_leaves_the_call_to_another_and_rests():
    refused = refusing(401, {"code": "invalid_api_key"})
    async with fakes(in_turn(refused, answering("Hi"))) as fake, generating() as generator:
        first, _ = await played(generator, fake, keys=["bad", "local"])
        second, _ = await played(generator, fake, keys=["bad", "local"])

        assert isinstance(first, FinishGeneration)
        assert first.detours == [detour("unauthorized", key="bad")]
        assert isinstance(second, FinishGeneration)
        assert second.detours == []
        used = [headers.get("Authorization") for headers in fake[0].headers]
        assert used == ["Bearer bad-key-0123456789", f"Bearer {KEY}", f"Bearer {KEY}"]


EMPTY = {"type": "invalid_request_error", "message": "Your credit balance is too low."}
MINIMAX = event({"choices": None, "base_resp": {"status_code": 1008, "status_msg": "x"}})


@pytest.mark.parametrize(
    "empty",
    [
        refusing(400, EMPTY),
        sending(MINIMAX, DONE),
        sending(json.dumps({"error": EMPTY}, indent=2).encode(), headers=JSON),
        sending(b'{"code":402,', b'"message":"x"}', headers=JSON),
    ],
    ids=["status 400", "event under 200", "body under 200", "body in pieces"],
)
async def test_an_empty_wallet_leaves_the_call_to_another_key_costs_nothing_and_rests(
    empty: Behaviour,
):
    async with fakes(in_turn(empty, answering("Hi"))) as fake, generating() as generator:
        first, events = await played(generator, fake, keys=["bad", "local"])
        second, _ = await played(generator, fake, keys=["bad", "local"])

        assert isinstance(first, FinishGeneration)
        assert first.detours == [detour("rate_limited", key="bad")]
        assert text_of(events) == "Hi"
        assert isinstance(second, FinishGeneration)
        assert second.detours == []
        assert len(fake[0].bodies) == 3


async def test_an_empty_wallet_without_another_key_leads_to_a_fallback_and_is_not_asked_again():
    async with fakes(refusing(400, EMPTY), answering("Hi")) as fake, generating() as generator:
        for _ in range(10):
            result, _ = await played(generator, fake)
            assert isinstance(result, FinishGeneration)
            assert result.place == 1

        alone, _ = await played(generator, fake[:1])
        assert isinstance(alone, FailGeneration)
        assert (alone.problem.code, alone.problem.retryable) == ("rate_limited", False)
        assert alone.problem.details["quota"] == "key"
        assert len(fake[0].bodies) == 1


async def test_a_limited_key_is_worth_waiting_for_though_the_other_ones_wallet_is_empty():
    limited = refusing(429, headers={"retry-after": "7"})
    async with fakes(in_turn(limited, refusing(400, EMPTY))) as fake, generating() as generator:
        result, _ = await played(generator, fake, keys=["bad", "local"])

    assert isinstance(result, FailGeneration)
    assert (result.problem.retryable, result.problem.retry_after) == (True, 7.0)
    assert result.detours == [
        detour("rate_limited", key="bad"),
        detour("rate_limited", key="local"),
    ]


async def test_when_the_only_key_rests_the_provider_is_not_asked_again():
    async with fakes(LIMITED) as fake, generating() as generator:
        await played(generator, fake)
        again, _ = await played(generator, fake)

        assert isinstance(again, FailGeneration)
        assert again.problem.code == "rate_limited"
        assert again.problem.retry_after is not None
        assert 0 < again.problem.retry_after <= 30
        assert len(fake[0].bodies) == 1


async def test_the_key_with_the_fewest_calls_under_way_is_taken():
    both = anyio.Event()

    async def holding(request: Any) -> Any:
        if len(fake[0].bodies) == 2:
            both.set()
        await both.wait()
        return await answering("Hi")(request)

    async with fakes(holding) as fake, generating() as generator:
        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                item = at_place(work(at(fake[0])), 0, Policy(keys=["local", "bad"]))
                tasks.start_soon(generator.run, item, _ignore)

        used = {headers.get("Authorization") for headers in fake[0].headers}
        assert used == {"Bearer bad-key-0123456789", f"Bearer {KEY}"}


# Rate limits


def limited(remaining: str, reset: str) -> Behaviour:
    headers = {
        "x-ratelimit-remaining-requests": remaining,
        "x-ratelimit-reset-requests": reset,
    }
    return answering("Hi", headers=headers)


async def test_a_call_waits_until_its_key_has_room_again():
    async with fakes(limited("0", "200ms")) as fake, generating() as generator:
        await played(generator, fake)
        began = anyio.current_time()
        result, _ = await played(generator, fake)

    assert isinstance(result, FinishGeneration)
    assert anyio.current_time() - began >= 0.1


async def test_a_long_wait_is_left_to_the_owner_and_a_fallback_asked_at_once():
    async with fakes(limited("0", "60s"), answering("Ho")) as fake, generating() as generator:
        await played(generator, fake)
        alone, _ = await played(generator, fake[:1])
        result, _ = await played(generator, fake)

        assert isinstance(alone, FailGeneration)
        assert alone.problem.retry_after is not None
        assert 50 < alone.problem.retry_after <= 60
        assert isinstance(result, FinishGeneration)
        assert (result.answer.text, result.detours) == ("Ho", [detour("rate_limited")])
        assert len(fake[0].bodies) == 1


# Circuits


async def test_a_provider_that_keeps_failing_is_left_alone():
    async with fakes(OVERLOADED) as fake, generating() as generator:
        for _ in range(5):
            await played(generator, fake)
        result, _ = await played(generator, fake)

        states = generator.states(anyio.current_time())
        assert isinstance(result, FailGeneration)
        assert (result.problem.code, result.problem.retryable) == ("unavailable", True)
        assert result.problem.retry_after is not None
        assert len(fake[0].bodies) == 5
        assert [(state.circuit, state.failures) for state in states] == [("open", 5)]
        assert states[0].endpoint.startswith("custom/m@127.0.0.1:")


async def test_where_a_circuit_is_open_the_fallback_is_asked_at_once():
    async with fakes(OVERLOADED, answering("Hi")) as fake, generating() as generator:
        for _ in range(5):
            await played(generator, fake)
        result, _ = await played(generator, fake)

        assert isinstance(result, FinishGeneration)
        assert result.detours == [detour("unavailable")]
        assert len(fake[0].bodies) == 5


# Going on with a cut answer


async def test_a_cut_answer_is_gone_on_with_in_the_same_segment():
    parts = in_turn(breaking(HALF), answering(" a", " time."))
    async with fakes(parts) as fake, generating() as generator:
        result, events = await played(generator, fake, continuation="always")

        assert isinstance(result, FinishGeneration)
        assert result.answer == Answer(
            text="Once upon a time.",
            finish_reason="stop",
            usage=Usage(input=7, output=2),
            model_served="fake-1",
            provider_finish_reason="stop",
            raw_usage=result.answer.raw_usage,
        )
        assert result.detours == [detour("provider_error", CUT_USAGE)]
        assert text_of(events) == "Once upon a time."
        assert fake[0].bodies[1]["messages"][-1] == {"role": "assistant", "content": "Once upon"}


async def test_another_provider_goes_on_where_it_is_known_to():
    gone = in_turn(breaking(HALF), OVERLOADED)
    async with fakes(gone, answering("a time.")) as fake, generating() as generator:
        result, events = await played(generator, fake, continuation="always")

    assert isinstance(result, FinishGeneration)
    assert (result.answer.text, result.place) == ("Once upon a time.", 1)
    assert result.detours == [
        detour("provider_error", CUT_USAGE),
        detour("provider_overloaded"),
    ]
    assert text_of(events) == "Once upon a time."


async def test_who_is_not_known_to_go_on_is_not_asked_to():
    async with fakes(breaking(HALF), answering("Hi")) as fake, generating() as generator:
        result, _ = await played(generator, fake, continuation="supported")

        assert isinstance(result, FailGeneration)
        assert result.next_place == 1
        assert len(fake[0].bodies) == 1


async def test_an_answer_that_cannot_be_gone_on_with_goes_back_to_the_owner():
    broken = sending(HALF, event({"error": {"code": 502}}))
    async with fakes(broken) as fake, generating() as generator:
        result, _ = await played(generator, fake, continuation="never")

    assert isinstance(result, FailGeneration)
    assert (result.problem.retryable, result.next_place) == (True, None)


async def _ignore(_events: list[StreamEvent]) -> None:
    await anyio.lowlevel.checkpoint()


# Windows


async def test_a_prompt_that_cannot_fit_is_not_sent_and_goes_where_it_fits():
    async with fakes(answering("Hi"), answering("Hi")) as fake, generating() as generator:
        small = Ollama(model="m", base_url=fake[0].base_url, num_ctx=10)
        item = work(small)
        message = ChatMessage(role="user", content="word " * 100)
        request = msgspec.structs.replace(item.request, messages=[message])
        item = msgspec.structs.replace(item, request=request)
        alone = await generator.run(item, ignore)
        policy = Policy(fallbacks=[Fallback(provider=at(fake[1]))])
        helped = await generator.run(at_place(item, 0, policy), ignore)

        assert [len(one.bodies) for one in fake] == [0, 1]
    assert isinstance(alone, FailGeneration)
    assert (alone.problem.code, alone.problem.field) == ("validation", "messages")
    assert isinstance(helped, FinishGeneration)
    assert (helped.answer.text, helped.place) == ("Hi", 1)

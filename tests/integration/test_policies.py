"""Plain generation and policies on a real fleet: what a user asks, sees and can look up later."""

from typing import Any

import anyio
import msgspec

from bus.codec import decode
from schemas.assembly import Assembly
from schemas.events import SafetyRedactedEvent
from schemas.fleet import PROVIDERS_SUBJECT, ProviderStates
from schemas.safety import Finding
from schemas.streams import AttemptRestarted, Completed, StreamEvent
from tests.fleet import PlainClient, RunningFleet
from tests.providers_fake import (
    FakeProvider,
    answering,
    breaking,
    chunk,
    event,
    fake_provider,
    falling_silent,
    refusing,
    sending,
)

HALF = event(chunk("Once upon "))


def at(fake: FakeProvider, model: str = "m") -> dict[str, Any]:
    return {"type": "custom", "model": model, "base_url": fake.base_url}


def asking(provider: dict[str, Any], text: str = "Hello", **more: Any) -> dict[str, Any]:
    return {"provider": provider, "messages": [{"role": "user", "content": text}], **more}


async def generated(
    client: PlainClient, provider: dict[str, Any], text: str = "Hello", **more: Any
) -> tuple[dict[str, Any], list[StreamEvent]]:
    """Ask for a plain generation; return its record and all its events."""
    handle = await client.ask("llm.generate", asking(provider, text, **more))
    assert "execution_id" in handle, handle
    events = await client.events(handle["execution_id"])
    return await client.ask("executions.get", {"execution_id": handle["execution_id"]}), events


async def test_a_plain_generation_is_answered_streamed_and_stored(client: PlainClient):
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"at":"me"}'}}
    told = [event(chunk("Let me see.")), event(chunk(tool_calls=[call]))]
    async with fake_provider(sending(*told, *answering_end("tool_calls"))) as fake:
        record, events = await generated(client, at(fake), "Look!", user="ann")
        tool = {"name": "look", "description": "", "parameters": {"type": "object"}}
        again, _ = await generated(client, at(fake), "Look!", tools=[tool])

    completed = events[-1]
    assert isinstance(completed, Completed)
    calls = [{"id": "c1", "name": "look", "arguments": '{"at":"me"}'}]
    assert completed.text == record["text"] == "Let me see."
    assert completed.final_response == record["output"] == "Let me see."
    assert msgspec.to_builtins(completed.tool_calls) == record["tool_calls"] == calls
    assert completed.finish_reason == record["finish_reason"] == "tool_calls"
    assert completed.model_served == record["model_served"] == "fake-1"
    assert msgspec.to_builtins(completed.usage) == record["usage"]
    assert (record["agent_id"], record["task"], record["user"]) == (None, "Look!", "ann")
    assert (record["provider"], record["model"]) == ("custom", "m")
    assert again["output"] == "Let me see."


def answering_end(finish: str) -> list[bytes]:
    usage = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    last = {"id": "chatcmpl-1", "model": "fake-1", "choices": [], "usage": usage}
    return [event(chunk(finish=finish)), event(last), b"data: [DONE]\n\n"]


async def test_a_run_has_images_a_model_and_settings_of_its_own(client: PlainClient):
    image = {"type": "image_url", "url": "https://example.com/a.png"}
    async with fake_provider(answering("A cat.")) as fake:
        form = {"provider": at(fake, "{model}"), "config": {"temperature": 0.1, "max_tokens": 9}}
        described = {"properties": {"model": {"type": "string"}}}
        body = {"id": "seer", "agent": form, "parameters": described}
        await client.ask("templates.apply", body)
        missing = await client.ask("agents.create", {"id": "eye", "template": "seer"})
        values = {"model": "small"}
        await client.ask("agents.create", {"id": "eye", "template": "seer", "values": values})
        run = {"agent_id": "eye", "task": "What is it?", "images": [image], "model": "large"}
        handle = await client.ask("agents.execute", run | {"config": {"temperature": 0.9}})
        record = await client.ended(handle["execution_id"])
        refused = await client.ask("agents.execute", run | {"config": {"temperature": 9}})

    assert (missing["code"], missing["field"]) == ("validation", "values.model")
    assert (record["output"], record["model"]) == ("A cat.", "large")
    sent = fake.bodies[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("large", 0.9, 9)
    assert sent["messages"][-1]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": image["url"]}},
    ]
    assert (refused["code"], refused["field"]) == ("validation", "config.temperature")


async def test_the_same_id_is_the_same_generation(client: PlainClient):
    async with fake_provider(answering("Hi")) as fake:
        first, _ = await generated(client, at(fake), id="one")
        second, _ = await generated(client, at(fake), id="one")
        other = await client.ask("llm.generate", asking(at(fake), "Another", id="one"))

        assert first == second
        assert other["code"] == "conflict"
        assert len(fake.bodies) == 1


async def test_a_generation_that_can_never_run_is_refused(client: PlainClient):
    wrong = {"type": "custom", "model": "m", "base_url": "http://user:word@h/v1"}
    refused = await client.ask("llm.generate", asking(wrong))

    assert (refused["code"], refused["field"]) == ("validation", "provider.base_url")


async def test_a_cut_answer_is_begun_again_elsewhere_and_readers_are_told(client: PlainClient):
    async with (
        fake_provider(breaking(HALF)) as sick,
        fake_provider(answering("Once ", "more.")) as well,
    ):
        policy = {"fallbacks": [{"provider": at(well, "other")}]}
        record, events = await generated(client, at(sick), policy=policy)

    assembly = Assembly()
    for each in events:
        assembly.add(each)
    restarted = [each for each in events if isinstance(each, AttemptRestarted)]
    assert [(each.dropped_segment, each.reason) for each in restarted] == [(1, "provider_error")]
    assert assembly.text == record["output"] == "Once more."
    assert (record["status"], record["attempts"], record["model"]) == ("COMPLETED", 2, "other")
    assert [(each["attempt"], each["model"]) for each in record["detours"]] == [(1, "m")]
    assert record["usage"]["quality"] == "estimated"
    assert record["usage"]["input"] == 7 + record["detours"][0]["usage"]["input"]


async def test_rules_choose_the_model_and_the_record_says_why(client: PlainClient):
    async with fake_provider(answering("Because.")) as fake:
        rules = [
            {"name": "hard", "when": {"words": ["prove"]}, "model": "large"},
            {"name": "cold", "when": {"complexity_at_least": 1}, "temperature": 0.1},
        ]
        record, _ = await generated(client, at(fake, "small"), "Prove it.", policy={"rules": rules})

        assert fake.bodies[0]["model"] == "large"
        assert fake.bodies[0]["temperature"] == 0.1
    word = "the task has the word prove"
    points = "complexity 1 (1 for 1 words that ask for thought), at least 1"
    assert record["choices"] == [
        {"rule": "hard", "field": "model", "value": "large", "reason": word},
        {"rule": "cold", "field": "temperature", "value": "0.1", "reason": points},
    ]


async def test_an_identical_request_is_answered_from_the_cache_for_nothing(client: PlainClient):
    async with fake_provider(answering("Four", ".")) as fake:
        policy = {"cache": {"ttl_seconds": 60}}
        first, _ = await generated(client, at(fake), "2+2?", policy=policy)
        second, events = await generated(client, at(fake), "2+2?", policy=policy)
        third, _ = await generated(client, at(fake), "2+3?", policy=policy)
        fourth, _ = await generated(client, at(fake), "2+2?")

        assert len(fake.bodies) == 3
    assert [each["output"] for each in (first, second, third, fourth)] == ["Four."] * 4
    assert [each["cached"] for each in (first, second, third, fourth)] == [
        False,
        True,
        False,
        False,
    ]
    assert second["tokens_used"] == 0
    assert isinstance(events[-1], Completed)
    assert events[-1].cached


async def test_another_tenant_gets_nothing_from_the_cache(fleet: RunningFleet, client: PlainClient):
    async with fake_provider(answering("Four")) as fake, fleet.client("elsewhere") as other:
        policy = {"cache": {"ttl_seconds": 60}}
        await generated(client, at(fake), "Mine", policy=policy)
        record, _ = await generated(other, at(fake), "Mine", policy=policy)

    assert record["cached"] is False


async def test_what_a_safety_rule_finds_is_redacted_told_and_recorded(client: PlainClient):
    rule = {"name": "card", "outcome": "redacted", "patterns": [r"\d{4} \d{4}"]}
    policy = {"safety": {"rules": [rule]}}
    heard = await client.nats.subscribe(f"cb.{client.tenant}.events.safety.>")
    async with fake_provider(answering("Is it 12", "34 56", "78?")) as fake:
        record, events = await generated(client, at(fake), "Mine is 1111 2222.", policy=policy)

        assert fake.bodies[0]["messages"][-1]["content"] == "Mine is [redacted]."
    assert record["output"] == "Is it [redacted]?"
    assert "5678" not in "".join(str(each) for each in events)
    told = decode(SafetyRedactedEvent, (await heard.next_msg(5)).data)
    findings = [
        Finding(rule="card", outcome="redacted", place="input"),
        Finding(rule="card", outcome="redacted", place="output"),
    ]
    assert told.findings == findings
    assert record["findings"] == msgspec.to_builtins(findings)


async def test_an_answer_is_blocked_in_mid_stream(client: PlainClient):
    rule = {"name": "bomb", "outcome": "blocked", "words": ["bomb"]}
    policy = {"safety": {"rules": [rule]}, "fallbacks": []}
    words = [event(chunk(word)) for word in ("How ", "to build a bo", "mb ", "is simple")]
    async with fake_provider(falling_silent(*words)) as fake:
        policy["fallbacks"] = [{"provider": at(fake)}]
        record, events = await generated(client, at(fake), policy=policy)
        with anyio.fail_after(5):
            await fake.abandoned.wait()

        assert len(fake.bodies) == 1
    assert (record["status"], record["error"]["code"]) == ("FAILED", "blocked")
    assert "bomb" not in "".join(str(each) for each in events[:-1])
    assert record["usage"]["quality"] == "estimated"


async def test_a_cancelled_execution_has_its_usage_counted(client: PlainClient):
    async with fake_provider(falling_silent(HALF)) as fake:
        handle = await client.ask("llm.generate", asking(at(fake)))
        with anyio.fail_after(10):
            while not fake.bodies:
                await anyio.sleep(0.01)
            await client.ask("executions.cancel", {"execution_id": handle["execution_id"]})
            await fake.abandoned.wait()
            record: dict[str, Any] = {}
            while not record.get("usage"):
                record = await client.ask(
                    "executions.get", {"execution_id": handle["execution_id"]}
                )

    assert record["status"] == "CANCELLED"
    assert record["usage"]["quality"] == "estimated"
    assert record["usage"]["input"] > 0


async def test_how_providers_fare_can_be_asked(fleet: RunningFleet, client: PlainClient):
    async with fake_provider(refusing(503)) as fake:
        limits = {"max_attempts": 1}
        for _ in range(5):
            await generated(client, at(fake, "sick"), limits=limits)
        inbox = "_cb.sys.providers.test"
        answers = await client.nats.subscribe(inbox)
        await client.nats.publish(PROVIDERS_SUBJECT, reply=inbox)
        told = decode(ProviderStates, (await answers.next_msg(5)).data)

    host = fake.base_url.removeprefix("http://").removesuffix("/v1")
    states = {state.endpoint: state for state in told.endpoints}
    assert states[f"custom/sick@{host}"].circuit == "open"
    assert states[f"custom/sick@{host}"].failures == 5
    assert len(fleet.processes) == 2

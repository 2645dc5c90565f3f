"""Categories judged by a moderation endpoint, on the way in and on the way out."""

from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from actors.streaming.adapters.providers import open_providers
from actors.streaming.flow.generation import Generator, Means
from bus.kv.prices import shipped_text
from bus.security.egress import Egress
from schemas.lifecycle import FailGeneration, FinishGeneration
from schemas.policy import Fallback, Policy
from schemas.pricing.prices import Prices
from schemas.safety import Finding, Moderation, Safety, SafetyRule
from schemas.streams import StreamEvent
from schemas.usage import Usage
from tests.attempts import NOW, SECRETS, at, config, generating, text_of, work
from tests.providers_fake import (
    Behaviour,
    FakeProvider,
    answering,
    chunk,
    event,
    fake_provider,
    falling_silent,
    refusing,
    sending,
)


async def judging(request: web.Request) -> web.StreamResponse:
    """Find violence where there is a sword."""
    body: dict[str, Any] = msgspec.json.decode(await request.read())
    scores = [{"violence": 0.9 if "sword" in text else 0.1} for text in body["input"]]
    results = [{"flagged": False, "category_scores": score} for score in scores]
    return web.json_response({"id": "m", "model": "judge", "results": results})


async def judged(
    behaviour: Behaviour, judge: FakeProvider, **wish: Any
) -> tuple[FinishGeneration | FailGeneration, list[StreamEvent], FakeProvider]:
    """Run an attempt whose texts the fake judges; it has a fallback that must not be asked."""
    events: list[StreamEvent] = []

    async def emit(batch: list[StreamEvent]) -> None:
        events.extend(batch)

    moderation = Moderation(
        categories={"violence": 0.5}, base_url=judge.base_url, window=50, **wish
    )
    with anyio.fail_after(20):
        async with fake_provider(behaviour) as fake, generating() as generator:
            policy = Policy(
                safety=Safety(moderation=moderation), fallbacks=[Fallback(provider=at(fake))]
            )
            item = msgspec.structs.replace(work(at(fake)), policy=policy)
            result = await generator.run(item, emit)
            return result, events, fake


async def test_a_harmless_answer_passes_whole():
    pieces = [f"word {number} " for number in range(30)]
    async with fake_provider(judging) as judge:
        result, events, _ = await judged(answering(*pieces), judge)

        assert len(judge.bodies) == 1 + len("".join(pieces)) // 50 + 1
    assert isinstance(result, FinishGeneration)
    assert text_of(events) == result.answer.text == "".join(pieces)
    assert result.findings == []


async def test_an_answer_is_stopped_before_the_window_that_is_forbidden():
    told = [event(chunk("peace " * 10)), event(chunk("and a sword " * 10))]
    async with fake_provider(judging) as judge:
        result, events, fake = await judged(falling_silent(*told), judge)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.details["rule"]) == (
        "blocked",
        "moderation.violence",
    )
    assert text_of(events) == ("peace " * 10)[:50]
    assert result.findings == [
        Finding(rule="moderation.violence", outcome="blocked", place="output")
    ]
    assert len(fake.bodies) == 1


async def test_a_forbidden_question_is_never_asked():
    async with fake_provider(judging) as judge, fake_provider(answering("x")) as fake:
        wish = Moderation(categories={"violence": 0.5}, base_url=judge.base_url)
        item = work(at(fake))
        said = [msgspec.structs.replace(item.request.messages[0], content="Draw your sword!")]
        request = msgspec.structs.replace(item.request, messages=said)
        policy = Policy(safety=Safety(moderation=wish))
        async with generating() as generator:
            result = await generator.run(
                msgspec.structs.replace(item, request=request, policy=policy), _ignore
            )

        assert isinstance(result, FailGeneration)
        assert (result.problem.code, result.usage) == ("blocked", None)
        assert fake.bodies == []


async def test_what_is_only_flagged_passes_and_is_told():
    async with fake_provider(judging) as judge:
        result, events, _ = await judged(answering("a sword"), judge, outcome="flagged")

    assert isinstance(result, FinishGeneration)
    assert text_of(events) == "a sword"
    assert result.findings == [
        Finding(rule="moderation.violence", outcome="flagged", place="output")
    ]


@pytest.mark.parametrize("outcome", ["blocked", "flagged"])
async def test_without_a_judge_nothing_forbidden_passes_and_nothing_more_is_stopped(outcome: str):
    async with fake_provider(refusing(503)) as judge:
        result, _, fake = await judged(answering("x"), judge, outcome=outcome)

    if outcome == "flagged":
        assert isinstance(result, FinishGeneration)
        return
    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.field) == (
        "provider_overloaded",
        "policy.safety.moderation",
    )
    assert result.problem.retryable
    assert fake.bodies == []


async def test_a_judges_error_under_success_is_typed():
    spent = sending(b'{"error":{"message":"x","type":"insufficient_quota"}}')
    async with fake_provider(spent) as judge:
        result, _, fake = await judged(answering("x"), judge, outcome="blocked")

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.retryable) == ("rate_limited", False)
    assert fake.bodies == []


async def test_a_judge_that_keeps_failing_is_left_alone_and_the_flagged_pass_without_it():
    async with (
        fake_provider(refusing(503)) as judge,
        fake_provider(answering("x")) as fake,
        generating() as generator,
    ):
        wish = Moderation(categories={"violence": 0.5}, base_url=judge.base_url, outcome="flagged")
        policy = Policy(safety=Safety(moderation=wish))
        item = msgspec.structs.replace(work(at(fake)), policy=policy)
        results = [await generator.run(item, _ignore) for _ in range(10)]
        states = {state.endpoint: state.circuit for state in generator.states(anyio.current_time())}

    assert all(isinstance(result, FinishGeneration) for result in results)
    assert len(judge.bodies) < len(results)
    assert [circuit for name, circuit in states.items() if "moderation" in name] == ["open"]


async def judging_for_money(request: web.Request) -> web.StreamResponse:
    """Find nothing, and tell what that has used, as Mistral does."""
    body: dict[str, Any] = msgspec.json.decode(await request.read())
    results = [{"category_scores": {"violence": 0.0}} for _ in body["input"]]
    usage = {"prompt_tokens": 7, "completion_tokens": 0, "total_tokens": 7}
    return web.json_response({"results": results, "usage": usage})


@pytest.mark.parametrize(
    ("judge_by", "model", "judged_at"),
    [
        (judging_for_money, "gpt-4o-mini", [14 * 150_000]),
        (judging_for_money, "unheard-of", [None]),
        (judging, "omni-moderation-latest", []),
    ],
    ids=["priced", "unpriced", "silent"],
)
async def test_judging_is_charged_by_what_the_judge_tells_and_not_at_all_where_it_tells_nothing(
    judge_by: Behaviour, model: str, judged_at: list[int | None]
):
    prices = Prices(shipped_text())
    async with (
        fake_provider(judge_by) as judge,
        fake_provider(answering("Peace.")) as fake,
        open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers,
    ):
        wish = Moderation(categories={"violence": 0.5}, base_url=judge.base_url, model=model)
        policy = Policy(safety=Safety(moderation=wish))
        item = msgspec.structs.replace(work(at(fake)), policy=policy)
        result = await Generator(
            Means(providers=providers, clock=lambda: NOW, prices=lambda: prices)
        ).run(item, _ignore)

    of_judge = [one for one in result.charges or [] if one.model == model]
    assert isinstance(result, FinishGeneration)
    assert [one.cost_pico for one in of_judge] == judged_at
    assert [one.usage for one in of_judge] == [Usage(input=14)] * len(judged_at)


async def test_the_operators_rules_hold_for_an_agent_that_has_none():
    rule = SafetyRule(name="fleet", outcome="redacted", words=["bluebird"], replacement="it")
    async with (
        fake_provider(answering("Call it ", "blue", "bird.")) as fake,
        open_providers(config(), Egress(allow_loopback=True), SECRETS) as providers,
    ):
        generator = Generator(
            Means(providers=providers, clock=lambda: NOW, safety=Safety(rules=[rule]))
        )
        result = await generator.run(work(at(fake)), _ignore)

    assert isinstance(result, FinishGeneration)
    assert result.answer.text == "Call it it."
    assert result.findings == [Finding(rule="fleet", outcome="redacted", place="output")]


async def _ignore(_events: list[StreamEvent]) -> None:
    await anyio.lowlevel.checkpoint()

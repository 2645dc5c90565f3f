"""Safety rules and texts that cost most to search, and what that costs the other work."""

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from actors.agents.core.policy_checks import check_policy
from actors.streaming.adapters.safety_file import load
from actors.streaming.core.safety import effort
from bus.errors import ConfigError
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import ChatMessage, ContentPart, GenerateRequest, TextPart
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.safety import Safety, SafetyRule
from tests.attempts import at, generating, ignore, work
from tests.lag import TOLERATED_SECONDS, measured
from tests.providers_fake import answer, fake_provider, sending
from tests.unit.agents.samples import agent

WILD = random.Random(7)
TOO_COSTLY = Problem(
    code="blocked",
    message="The safety rules could not be applied: the texts take too long to search.",
    field="policy.safety.rules",
)


def letters(alphabet: str, length: int) -> str:
    return "".join(WILD.choices(alphabet, k=length))


def rules(texts: Sequence[str], *, words: bool = False, outcome: str = "flagged") -> Policy:
    """Spread patterns over as many rules as they need."""
    size = 1000 if words else 100
    found = [
        {
            "name": f"r{place}",
            "outcome": outcome,
            "words" if words else "patterns": texts[place : place + size],
        }
        for place in range(0, len(texts), size)
    ]
    return Policy(safety=Safety(rules=msgspec.convert(found, list[SafetyRule])))


def in_rules(texts: Sequence[str], count: int) -> Policy:
    each = -(-len(texts) // count)
    return Policy(
        safety=Safety(
            rules=[
                SafetyRule(name=f"r{place}", outcome="flagged", patterns=list(texts[place:][:each]))
                for place in range(0, len(texts), each)
            ]
        )
    )


CJK = [chr(0x4E00 + place) for place in range(20_000)]
ENDLESS = "q" * 1_000_000
RANDOM = letters("ab", 200_000)

HOSTILE: dict[str, tuple[Policy, str]] = {
    "long rows": (rules([f".{{99}}{chr(97 + k % 26)}" for k in range(200)]), "q" * 20_000),
    "long rows, random": (rules([f".{{99}}{chr(97 + k % 26)}" for k in range(200)]), RANDOM),
    "optional rows": (rules([f"a{{0,49}}.{{0,49}}{chr(98 + k % 9)}" for k in range(200)]), RANDOM),
    "counted": (rules([r"[ab]{1,9}c?[ab]{1,9}\w{0,70}!" for _ in range(200)]), RANDOM),
    "large classes": (
        rules([f"[{CJK[k]}-{CJK[k + 900]}{letters('abcxyz', 9)}]" for k in range(990)]),
        "".join(WILD.choices(CJK, k=100_000)),
    ),
    "negated classes": (rules([f"[^{CJK[k]}]{{19}}!" for k in range(900)]), RANDOM),
    "long words": (
        rules([letters("abc", 99) for _ in range(200)], words=True),
        " ".join(letters("abc", 50) for _ in range(4_000)),
    ),
    "many words": (rules([letters("ab", 5) for _ in range(4000)], words=True), "ab " * 60_000),
    "many rules": (in_rules([f"{CJK[k]}\\d{{1,9}}" for k in range(1500)], 100), RANDOM),
    "a megabyte": (rules([r"\d{4}[ -]?\d{4}", r"\w{30}q{20}!"]), ENDLESS),
    "a redaction a character": (rules([r"q"], outcome="redacted"), "q" * 100_000),
    "nothing": (rules(["x"]), ENDLESS),
}


def asked(policy: Policy, *texts: str, answer_text: str = "hello") -> GenerateWork:
    provider = Scripted(responses=[answer_text], delay_ms=0)
    messages = [ChatMessage(role="user", content=text) for text in texts]
    base = work(provider)
    request = GenerateRequest(provider=provider, messages=messages)
    return msgspec.structs.replace(base, request=request, policy=policy)


@pytest.mark.parametrize("name", HOSTILE)
async def test_no_rules_and_text_hold_up_the_loop(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(effort.Effort.__init__, "__defaults__", (1_500_000,))
    policy, text = HOSTILE[name]
    assert check_policy(agent(policy=policy), ()) is None

    async with generating() as generator, measured() as lag:
        result = await generator.run(asked(policy, text), ignore)

    assert isinstance(result, FinishGeneration) or result.problem == TOO_COSTLY
    assert lag.longest < TOLERATED_SECONDS


@pytest.mark.parametrize("name", ["long rows, random", "optional rows", "long words"])
async def test_no_rules_and_answer_hold_up_the_loop(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(effort.Effort.__init__, "__defaults__", (1_500_000,))
    policy, text = HOSTILE[name]

    async with (
        fake_provider(sending(*answer(text[:100_000]))) as fake,
        generating() as generator,
        measured() as lag,
    ):
        result = await generator.run(msgspec.structs.replace(work(at(fake)), policy=policy), ignore)

    assert isinstance(result, FinishGeneration) or result.problem == TOO_COSTLY
    assert lag.longest < TOLERATED_SECONDS


@pytest.mark.parametrize("outcome", ["flagged", "redacted", "blocked"])
@pytest.mark.parametrize("place", ["input", "output"])
async def test_what_cannot_be_searched_is_blocked(
    outcome: str, place: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(effort.Effort.__init__, "__defaults__", (20_000,))
    policy = rules([".{99}!"], outcome=outcome)
    texts = {"input": ("ab " * 9_000, "hello"), "output": ("hello", "ab " * 9_000)}
    text, said = texts[place]

    async with generating() as generator:
        result = await generator.run(asked(policy, text, answer_text=said), ignore)

    assert isinstance(result, FailGeneration)
    assert result.problem == TOO_COSTLY


async def test_many_small_messages_are_searched_in_slices():
    policy = rules(["x"])
    parts: list[ContentPart] = [TextPart(text="a") for _ in range(100_000)]
    asking = asked(policy, "a")
    request = msgspec.structs.replace(
        asking.request, messages=[ChatMessage(role="user", content=parts)]
    )

    async with generating() as generator, measured() as lag:
        result = await generator.run(msgspec.structs.replace(asking, request=request), ignore)

    assert isinstance(result, FinishGeneration)
    assert lag.longest < TOLERATED_SECONDS


TOO_LARGE: dict[str, list[str]] = {
    "positions": [".{100}" for _ in range(201)],
    "classes": [f"[{CJK[k]}-{CJK[k + 1]}]" for k in range(1001)],
    "characters": ["a" * 99 for _ in range(203)],
}


@pytest.mark.parametrize("name", TOO_LARGE)
async def test_rules_beyond_the_bounds_are_refused_wherever_they_come_from(
    name: str, tmp_path: Path
):
    policy = rules(TOO_LARGE[name])
    problem = check_policy(agent(policy=policy), ())
    assert problem is not None
    assert problem.code == "validation"
    assert (problem.field or "").startswith("policy.safety.rules")

    path = tmp_path / "rules.json"
    path.write_bytes(msgspec.json.encode(policy.safety))
    with pytest.raises(ConfigError):
        load(path)


async def test_rules_that_were_stored_beyond_the_bounds_block_what_they_should_search():
    policy = rules(TOO_LARGE["positions"] * 2)

    async with generating() as generator:
        result = await generator.run(asked(policy, "hello"), ignore)

    assert isinstance(result, FailGeneration)
    assert (result.problem.code, result.problem.field) == ("blocked", "policy.safety.rules")

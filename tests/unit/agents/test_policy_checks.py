"""What a policy must hold before it is stored."""

import msgspec
import pytest

from actors.agents.core.checks import check
from actors.agents.core.definitions import create
from schemas.agents import AgentDefinition, ApplyAgent
from schemas.llm import ModelConfig
from schemas.policy import Fallback, Policy, Rule
from schemas.providers import Custom, Groq, OpenAI
from schemas.safety import Safety, SafetyRule
from tests.architecture.readme import blocks
from tests.architecture.tree import ROOT
from tests.unit.agents.samples import NOW, agent

GOOD = Policy(
    keys=["a", "b"],
    fallbacks=[
        Fallback(provider=Groq(model="llama")),
        Fallback(provider=OpenAI(model="o3"), config=ModelConfig(reasoning_effort="low")),
    ],
    continuation="supported",
    rules=[Rule(name="all", model="gpt-4o"), Rule(name="cool", temperature=0.0)],
    safety=Safety(rules=[SafetyRule(name="card", outcome="redacted", patterns=[r"\d{16}"])]),
)


GUIDE = ROOT / "actors/streaming/README.md"


def test_a_sound_policy_is_stored():
    assert check(agent(policy=GOOD, config=ModelConfig(temperature=0.3))) is None


def test_the_policy_that_the_guide_shows_is_sound():
    (shown,) = blocks("yaml", GUIDE)
    wanted = msgspec.convert(msgspec.yaml.decode(shown), ApplyAgent)

    assert isinstance(create("writer", wanted, NOW), AgentDefinition)


def rule_of(**fields: object) -> Policy:
    rule = SafetyRule(name="r", outcome="blocked", **fields)  # pyright: ignore[reportArgumentType]
    return Policy(safety=Safety(rules=[rule]))


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        (
            Policy(fallbacks=[Fallback(provider=Custom(model="m", base_url="http://u@h"))]),
            "policy.fallbacks.0.provider.base_url",
        ),
        (
            Policy(fallbacks=[Fallback(provider=OpenAI(model="o3"))]),
            "policy.fallbacks.0.config.temperature",
        ),
        (Policy(rules=[Rule(name="r", model="o3")]), "policy.rules.0.config.temperature"),
        (Policy(rules=[Rule(name="r")]), "policy.rules.0"),
        (rule_of(), "policy.safety.rules.0"),
        (rule_of(patterns=["ok", "a*"]), "policy.safety.rules.0.patterns.1"),
        (rule_of(words=["x" * 90] * 250), "policy.safety.rules"),
    ],
)
def test_a_policy_that_can_never_work_is_refused(policy: Policy, field: str):
    problem = check(agent(policy=policy, config=ModelConfig(temperature=0.3)))

    assert problem is not None
    assert (problem.code, problem.field) == ("validation", field)

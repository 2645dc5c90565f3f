"""Model and temperature chosen by the task, and why."""

from typing import Any

import msgspec
import pytest

from actors.agents.core.complexity import Measure, Trait, measure
from actors.agents.core.rules import ChosenRules, choose, holds
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.policy import Choice, Rule, When
from schemas.providers import Groq, OpenAI
from schemas.steps import at_once

REQUEST = GenerateRequest(
    provider=OpenAI(model="small", secret="mine"),
    messages=[ChatMessage(role="user", content="Hello")],
    config=ModelConfig(temperature=0.5, seed=1),
)

HARD = """Compare these designs and prove which is better:
1. the first
2. the second
```
def f(): ...
```
Why? Which costs more?
"""


def measured(**fields: Any) -> Measure:
    plain: dict[str, Any] = {
        "tokens": 10,
        "turns": 0,
        "tools": 0,
        "words": frozenset({"hello"}),
        "traits": (),
    }
    return Measure(**(plain | fields))


def test_a_plain_task_has_no_points():
    assert at_once(measure("Say hello.", turns=0, tools=0)) == Measure(
        tokens=3, turns=0, tools=0, words=frozenset({"say", "hello"}), traits=()
    )


def test_points_are_given_for_traits_and_say_what_for():
    found = at_once(measure(HARD, turns=9, tools=2))

    assert found.traits == (
        Trait(1, "2 listed items"),
        Trait(2, "code"),
        Trait(3, "3 words that ask for thought"),
        Trait(1, "2 questions"),
        Trait(1, "2 tools"),
        Trait(2, "9 earlier turns"),
    )
    assert found.complexity == 10


def test_each_trait_is_bounded():
    monster = HARD * 200

    assert at_once(measure(monster, turns=10**6, tools=99)).complexity <= 19


def test_the_first_rule_that_holds_decides_each_of_model_and_temperature():
    rules = [
        Rule(name="never", when=When(words=["absent"]), model="huge", temperature=2.0),
        Rule(name="exact", when=When(words=["hello"]), temperature=0.0),
        Rule(name="long", when=When(tokens_at_least=5), model="large", temperature=1.0),
        Rule(name="rest", model="tiny"),
    ]

    assert choose(REQUEST, rules, measured()) == ChosenRules(
        msgspec.structs.replace(
            REQUEST,
            provider=OpenAI(model="large", secret="mine"),
            config=ModelConfig(temperature=0.0, seed=1),
        ),
        (
            Choice(rule="long", field="model", value="large", reason="10 tokens, at least 5"),
            Choice(
                rule="exact",
                field="temperature",
                value="0",
                reason="the task has the word hello",
            ),
        ),
    )


def test_a_rule_may_choose_another_provider():
    rules = [Rule(name="other", provider=Groq(model="llama"), model="llama-70b")]

    assert choose(REQUEST, rules, measured()).request.provider == Groq(model="llama-70b")


def test_without_a_rule_that_holds_nothing_changes():
    rules = [Rule(name="never", when=When(tools=True), model="large")]

    assert choose(REQUEST, rules, measured()) == ChosenRules(REQUEST, ())


TRAITS = (Trait(2, "code"), Trait(4, "800 tokens"))


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        (When(), "always"),
        (When(complexity_at_least=6), "complexity 6 (2 for code, 4 for 800 tokens), at least 6"),
        (When(complexity_at_least=7), None),
        (When(complexity_at_most=6), "complexity 6 (2 for code, 4 for 800 tokens), at most 6"),
        (When(complexity_at_most=5), None),
        (When(tokens_at_least=8, tools=False), "800 tokens, at least 8; 0 tools"),
        (When(tokens_at_most=800), "800 tokens, at most 800"),
        (When(tokens_at_least=801), None),
        (When(turns_at_least=1), None),
        (When(words=["nothing", "HELLO"]), "the task has the word HELLO"),
        (When(tools=False), "0 tools"),
        (When(tools=True), None),
    ],
)
def test_a_condition_is_met_or_not_and_says_why(when: When, reason: str | None):
    assert holds(when, measured(tokens=800, traits=TRAITS)) == reason

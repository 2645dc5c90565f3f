from itertools import permutations
from typing import get_args

import pytest

from actors.agents.core.personality import (
    BEHAVIORS,
    STYLES,
    TONES,
    TRAITS,
    paragraph,
    system_prompt,
)
from schemas.agents import Behavior, LanguageStyle, Personality, Prompts, Tone, Trait
from tests.unit.agents.samples import agent

WHOLE = Personality(
    traits=["friendly", "analytical", "creative"],
    tone="formal",
    behavior="direct",
    language_style="concise",
)


def test_a_whole_personality_is_one_paragraph():
    assert paragraph(WHOLE) == (
        "You are friendly and approachable, creative and open to unusual ideas "
        "and analytical and precise. Keep a formal tone. "
        "Be direct: come to the point without preamble. Answer concisely."
    )


@pytest.mark.parametrize(
    ("words", "texts"),
    [(Trait, TRAITS), (Tone, TONES), (Behavior, BEHAVIORS), (LanguageStyle, STYLES)],
)
def test_every_word_has_a_text_of_its_own(words: object, texts: dict[str, str]):
    assert set(texts) == set(get_args(words))
    assert len(set(texts.values())) == len(texts)


@pytest.mark.parametrize("nothing", [None, Personality()])
def test_an_empty_personality_says_nothing(nothing: Personality | None):
    assert paragraph(nothing) == ""


def test_the_order_of_traits_makes_no_difference():
    traits: list[Trait] = ["creative", "friendly", "professional"]

    texts = {paragraph(Personality(traits=list(order))) for order in permutations(traits)}

    assert len(texts) == 1


def test_a_repeated_trait_is_said_once():
    assert paragraph(Personality(traits=["friendly", "friendly"])) == (
        "You are friendly and approachable."
    )


def test_the_system_prompt_is_instructions_personality_and_context_instructions():
    prompts = Prompts(system="You review code.\n", context_instructions="Use the given diff only.")
    personality = Personality(tone="casual")

    assert system_prompt(agent(prompts=prompts, personality=personality)) == (
        "You review code.\n\nKeep a casual, relaxed tone.\n\nUse the given diff only."
    )


def test_an_agent_without_instructions_has_no_system_prompt():
    assert system_prompt(agent(prompts=Prompts(system="  "))) == ""


def test_variables_in_the_system_prompt_are_not_filled():
    assert system_prompt(agent(prompts=Prompts(system="Do {input_data}"))) == "Do {input_data}"

"""How demanding a task looks, in points that anyone can count again.

The score is no judgement, only a sum of traits of the text, each bounded. A rule that reads
``complexity_at_least: 6`` can so be explained by what the points were given for.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from actors.agents.core.tokens import estimate

_STEP = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*•])\s+\S", re.MULTILINE)
_CODE = re.compile(
    r"```|^\s*(?:def |class |function |import |#include|SELECT\b|public )", re.MULTILINE
)
_WORD = re.compile(r"[^\W\d_]+")

_REASONING = frozenset(
    {
        "analyse", "analyze", "architecture", "calculate", "compare", "debug", "derive", "design",
        "evaluate", "explain", "implement", "optimise", "optimize", "plan", "proof", "prove",
        "refactor", "strategy", "trade", "why",
    }
)  # fmt: skip
"""Words that ask for thought rather than for text."""

_TOKENS_A_POINT = 200
_STEPS_A_POINT = 2
_TURNS_A_POINT = 4


class Trait(NamedTuple):
    """Points, and in words what for."""

    points: int
    reason: str


class Measure(NamedTuple):
    """What is known of a task when its model is chosen. ``words`` are in lower case."""

    tokens: int
    turns: int
    tools: int
    words: frozenset[str]
    traits: tuple[Trait, ...]

    @property
    def complexity(self) -> int:
        """The sum of all points."""
        return sum(trait.points for trait in self.traits)

    def reasons(self) -> str:
        """Say what the points were given for."""
        return ", ".join(f"{trait.points} for {trait.reason}" for trait in self.traits) or "none"


def measure(task: str, *, turns: int, tools: int) -> Measure:
    """Measure a task. ``turns`` counts the earlier turns sent along, ``tools`` those on offer."""
    tokens = estimate(task)
    words = frozenset(_WORD.findall(task.lower()))
    traits = tuple(_traits(task, tokens, words, turns, tools))
    return Measure(tokens=tokens, turns=turns, tools=tools, words=words, traits=traits)


def _traits(
    task: str, tokens: int, words: frozenset[str], turns: int, tools: int
) -> Iterator[Trait]:
    steps, questions = len(_STEP.findall(task)), task.count("?")
    asked = len(words & _REASONING)
    counted = (
        (min(tokens // _TOKENS_A_POINT, 5), f"{tokens} tokens"),
        (min(steps // _STEPS_A_POINT, 3), f"{steps} listed items"),
        (2 if _CODE.search(task) else 0, "code"),
        (min(asked, 4), f"{asked} words that ask for thought"),
        (min(max(questions - 1, 0), 2), f"{questions} questions"),
        (1 if tools else 0, f"{tools} tools"),
        (min(turns // _TURNS_A_POINT, 2), f"{turns} earlier turns"),
    )
    return (Trait(points, reason) for points, reason in counted if points)

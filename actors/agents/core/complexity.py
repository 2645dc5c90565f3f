"""How demanding a task looks, in points that anyone can count again.

The score is no judgement, only a sum of traits of the text, each bounded. A rule that reads
``complexity_at_least: 6`` can so be explained by what the points were given for.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from actors.agents.core.tokens import estimate
from schemas.steps import Steps

# White space within a line only: a row of empty lines would be tried from each of them on.
_STEP = re.compile(r"^[^\S\n]*(?:\d{1,3}[.)]|[-*•])[^\S\n]+\S", re.MULTILINE)
_CODE = re.compile(
    r"```|^[^\S\n]*(?:def |class |function |import |#include|SELECT\b|public )", re.MULTILINE
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

_PIECE = 16_384
"""Characters that are looked at at a time."""

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


def measure(task: str, *, turns: int, tools: int) -> Steps[Measure]:
    """Measure a task. ``turns`` counts the earlier turns sent along, ``tools`` those on offer."""
    found: set[str] = set()
    steps, code = 0, False
    for start, end in _pieces(task):
        found.update(_WORD.findall(task[start:end].lower()))
        steps += len(_STEP.findall(task, start, end))
        code = code or _CODE.search(task, start, end) is not None
        yield
    seen = _Seen(estimate(task), steps, task.count("?"), len(found & _REASONING), code)
    traits = tuple(_traits(seen, turns, tools))
    return Measure(
        tokens=seen.tokens, turns=turns, tools=tools, words=frozenset(found), traits=traits
    )


def _pieces(task: str) -> Iterator[tuple[int, int]]:
    """Cut a task into pieces at ends of lines, or else between words."""
    start = 0
    while start < len(task):
        end = min(start + _PIECE, len(task))
        if end < len(task):
            at = task.rfind("\n", start, end)
            at = at if at > start else task.rfind(" ", start, end)
            end = at + 1 if at > start else end
        yield start, end
        start = end


class _Seen(NamedTuple):
    """What was counted in a task."""

    tokens: int
    steps: int
    questions: int
    asked: int
    code: bool


def _traits(seen: _Seen, turns: int, tools: int) -> Iterator[Trait]:
    tokens, steps, questions, asked, code = seen
    counted = (
        (min(tokens // _TOKENS_A_POINT, 5), f"{tokens} tokens"),
        (min(steps // _STEPS_A_POINT, 3), f"{steps} listed items"),
        (2 if code else 0, "code"),
        (min(asked, 4), f"{asked} words that ask for thought"),
        (min(max(questions - 1, 0), 2), f"{questions} questions"),
        (1 if tools else 0, f"{tools} tools"),
        (min(turns // _TURNS_A_POINT, 2), f"{turns} earlier turns"),
    )
    return (Trait(points, reason) for points, reason in counted if points)

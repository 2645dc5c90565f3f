"""What an answer grows by, the same for every provider."""

from typing import NamedTuple

from schemas.llm import ToolCall


class TextDelta(NamedTuple):
    """A piece of the answer's text."""

    text: str


class ReasoningDelta(NamedTuple):
    """A piece of the model's reasoning."""

    text: str


Delta = TextDelta | ReasoningDelta | ToolCall
"""A tool call comes whole, once: nobody can act on half of one."""

"""What an answer grows by, the same for every provider."""

import msgspec

from schemas.llm import ToolCall


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer's text."""

    text: str


class ReasoningDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's reasoning."""

    text: str


Delta = TextDelta | ReasoningDelta | ToolCall
"""A tool call comes whole, once: nobody can act on half of one."""

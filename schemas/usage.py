"""Token counts of one or several provider calls, in disjoint buckets."""

from typing import Annotated, Literal

import msgspec

from schemas.base import Message

Tokens = Annotated[int, msgspec.Meta(ge=0)]

Quality = Literal["exact", "partial_stream", "estimated"]
"""Where the counts come from: the provider's final word, its word before a cut, or our estimate."""


def _worse(one: Quality, other: Quality) -> Quality:
    if "estimated" in (one, other):
        return "estimated"
    return one if other == "exact" else other


class Usage(Message, omit_defaults=True):
    """Tokens in buckets that never overlap: ``input`` excludes what the caches served or stored.

    ``output`` includes reasoning tokens, of which ``reasoning`` is the part.
    """

    input: Tokens = 0
    cache_read: Tokens = 0
    cache_write: Tokens = 0
    output: Tokens = 0
    reasoning: Tokens = 0
    quality: Quality = "exact"

    @property
    def total(self) -> int:
        """All tokens, each counted once."""
        return self.input + self.cache_read + self.cache_write + self.output

    def __add__(self, other: "Usage") -> "Usage":
        """Sum bucket by bucket; the quality is the worse of the two."""
        return Usage(
            input=self.input + other.input,
            cache_read=self.cache_read + other.cache_read,
            cache_write=self.cache_write + other.cache_write,
            output=self.output + other.output,
            reasoning=self.reasoning + other.reasoning,
            quality=_worse(self.quality, other.quality),
        )

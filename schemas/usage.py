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

    ``output`` includes reasoning and citations, of which ``reasoning`` and ``citation`` are the
    parts. Writes to a cache go by the time it keeps them; ``cache_write`` are those whose time the
    provider does not tell. Audio, and pictures and films that were made, have buckets of their own,
    outside ``input``, ``cache_read`` and ``output``. ``searches`` counts web searches the provider
    ran, which are no tokens.
    """

    input: Tokens = 0
    cache_read: Tokens = 0
    cache_write: Tokens = 0
    output: Tokens = 0
    reasoning: Tokens = 0
    quality: Quality = "exact"
    cache_write_5m: Tokens = 0
    cache_write_1h: Tokens = 0
    audio_input: Tokens = 0
    audio_cached: Tokens = 0
    audio_output: Tokens = 0
    searches: Annotated[int, msgspec.Meta(ge=0)] = 0
    image_output: Tokens = 0
    video_output: Tokens = 0
    citation: Tokens = 0

    @property
    def written(self) -> int:
        """All tokens written to caches, however long they are kept."""
        return self.cache_write + self.cache_write_5m + self.cache_write_1h

    @property
    def prompt(self) -> int:
        """All tokens of the prompt: new, cached, written to a cache, heard."""
        return self.input + self.cache_read + self.written + self.audio_input + self.audio_cached

    @property
    def made(self) -> int:
        """All tokens of the answer: said, spoken, drawn, filmed."""
        return self.output + self.audio_output + self.image_output + self.video_output

    @property
    def total(self) -> int:
        """All tokens, each counted once."""
        return self.prompt + self.made

    def __add__(self, other: "Usage") -> "Usage":
        """Sum bucket by bucket; the quality is the worse of the two."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in COUNTS}
        return Usage(**sums, quality=_worse(self.quality, other.quality))


COUNTS = tuple(name for name in Usage.__struct_fields__ if name != "quality")
"""The names of the buckets and counts."""

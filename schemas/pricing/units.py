"""What is counted: buckets that never overlap, and how they stand to each other. Pure."""

from collections.abc import Mapping
from typing import Final, Literal, get_args

PICO: Final = 10**12
"""Pico-dollars in a dollar."""

Bucket = Literal[
    "input",
    "cache_read",
    "cache_write",
    "cache_write_5m",
    "cache_write_1h",
    "audio_input",
    "audio_cached",
    "output",
    "audio_output",
    "reasoning",
    "searches",
    "image_output",
    "video_output",
    "citation",
    "requests",
    "image_input",
    "image_cached",
    "video_input",
    "file_searches",
    "audio_ms",
    "pages",
    "annotated_pages",
    "characters",
    "messages",
]

BUCKETS: tuple[Bucket, ...] = get_args(Bucket)
"""All buckets, first those of the usage that a language model reports."""

OF_USAGE = BUCKETS[: BUCKETS.index("requests")]
"""The buckets of ``schemas.usage.Usage``; one request is counted beside them."""

PROMPT = (*BUCKETS[: BUCKETS.index("output")], "image_input", "image_cached", "video_input")
"""The tokens that decide the tier: all of the prompt, cached or not."""

PARTS_OF_OUTPUT: tuple[Bucket, ...] = ("reasoning", "citation")
"""Counted within ``output`` as well; a rate of their own takes the place of its rate."""

COUNTS = ("searches", "requests", *BUCKETS[BUCKETS.index("file_searches") :])
"""What is no token."""

SAME_AS: Mapping[Bucket, tuple[Bucket, ...]] = {
    "cache_write_5m": ("cache_write",),
    "audio_input": ("input",),
    "image_input": ("input",),
    "video_input": ("input",),
    "audio_output": ("output",),
    "image_output": ("output",),
    "video_output": ("output",),
    "audio_cached": ("cache_read",),
    "image_cached": ("cache_read",),
    "annotated_pages": ("pages",),
}
"""Whose rate a bucket has where a price gives it none.

Writes to a cache are for five minutes unless they are said to be longer, and a model whose price
tells no modalities charges all alike. Nothing stands in for the price of reading a cache or of
keeping it for an hour: those are discounts and surcharges of their own.
"""

PLAIN_OF_CACHED: Mapping[Bucket, Bucket] = {
    "audio_cached": "audio_input",
    "image_cached": "image_input",
}
"""Where this modality has a rate of its own, its cache cannot have that of the text."""

"""What something costs: the question of a user, and the rate book as it is stored for everyone."""

import zlib
from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.base import Internal, Message, Question, StrictValue, Value
from schemas.ids import Token
from schemas.pricing.book import BookError
from schemas.pricing.units import Bucket
from schemas.usage import Tokens

BOOKS_BUCKET = "prices"

CURRENT = "current"
"""The key of the book in force."""

BASE = "base"
"""The key of the book that the operator's own rows are laid over."""

OVERLAY = "overlay"
"""The key of the operator's own rows."""

MOST_BYTES = 64 * 1024 * 1024
"""Bounds the text of a book."""


def kept(book_id: str) -> str:
    """Return the key under which a book is kept for good, so that its prices can be checked."""
    return f"book.{book_id}"


class QuotedUsage(StrictValue, omit_defaults=True):
    """What is to be priced, in buckets that never overlap, but for two parts of ``output``.

    ``input`` excludes what caches served or stored. ``reasoning`` and ``citation`` are counted
    within ``output`` as well. Writes of unknown time are ``cache_write``. ``requests`` are calls;
    one unless it is said.
    """

    input: Tokens = 0
    cache_read: Tokens = 0
    cache_write: Tokens = 0
    cache_write_5m: Tokens = 0
    cache_write_1h: Tokens = 0
    audio_input: Tokens = 0
    audio_cached: Tokens = 0
    output: Tokens = 0
    audio_output: Tokens = 0
    reasoning: Tokens = 0
    searches: Tokens = 0
    requests: Tokens = 1
    image_input: Tokens = 0
    image_cached: Tokens = 0
    video_input: Tokens = 0
    image_output: Tokens = 0
    video_output: Tokens = 0
    citation: Tokens = 0
    file_searches: Tokens = 0
    audio_ms: Tokens = 0
    pages: Tokens = 0
    annotated_pages: Tokens = 0
    characters: Tokens = 0
    messages: Tokens = 0


class QuoteLine(Value, omit_defaults=True):
    """One bucket of a quote. ``rate_pico`` is for one unit, or for ``per`` units."""

    bucket: Bucket
    tokens: int
    rate_pico: int
    cost_pico: int
    per: int = 1


class PriceQuote(Message, tag="price_quote"):
    """What usage costs, in pico-dollars (10**-12 USD), and from which row of which book it follows.

    ``cost_pico`` is the sum of the lines. ``resolved_from`` is the name that was asked for, where
    it is not the row's own. ``variant`` is the service tier or ``batch``, empty for the standard
    price; ``tier_from`` the size of the prompt from which on its rates apply. ``disputed`` says
    that another source has other rates for this row.
    """

    cost_pico: int
    lines: list[QuoteLine]
    book_id: str
    row: str
    resolved_from: str | None = None
    variant: str = ""
    tier_from: int = 0
    disputed: bool = False


class QuotePrice(Question):
    """Say what usage of a model costs, now or ``at`` a moment, or that it is `unpriced`.

    ``provider`` is a type of provider, a name of the rate book, or the address of an API.
    ``service_tier`` is the one that served the request. ``region`` counts where prices depend on
    it. ``book`` is the id or name of another book than the one in force.
    """

    SUBJECT: ClassVar[str] = "pricing.quote"
    REPLY: ClassVar[type[Message]] = PriceQuote
    ACTION: ClassVar[str] = "prices:read"

    provider: Annotated[str, msgspec.Meta(min_length=1, max_length=2048)]
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=512)]
    usage: QuotedUsage
    service_tier: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    batch: bool = False
    region: Annotated[str, msgspec.Meta(max_length=64)] = ""
    at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    book: Token | None = None


class StoredBook(Internal, tag="book"):
    """A rate book in its bucket: its canonical text, compressed with zlib."""

    book_id: str
    name: str
    stored_at: datetime
    packed: bytes


class StoredOverlay(Internal, tag="overlay"):
    """The operator's own rows in the bucket: an ``Overlay`` as JSON, compressed with zlib."""

    name: str
    stored_at: datetime
    packed: bytes


Stored = StoredBook | StoredOverlay


def packed(text: bytes) -> bytes:
    """Make a text small enough for one message of any server."""
    return zlib.compress(text, level=9)


def unpacked(data: bytes) -> bytes:
    """Return the text.

    Raises:
        BookError: this is none, or one larger than any book.
    """
    try:
        unpacker = zlib.decompressobj()
        text = unpacker.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise BookError(str(error)) from None
    if not unpacker.eof:
        raise BookError(f"it is cut off, or larger than {MOST_BYTES} bytes")
    return text

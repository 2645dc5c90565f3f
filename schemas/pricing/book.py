"""The rate book: every row with its dated prices, tiers and variants, and where it comes from.

A book is its canonical text, of which ``book_id`` is the SHA-256. One line a row, so that two books
can be compared by any tool. Pure.
"""

from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal, TypeVar, cast

import msgspec

from schemas.base import Value
from schemas.pricing.units import Bucket

FORMAT = 1

Rate = int | tuple[int, int]
"""Pico-dollars for one unit; or for so many, where one has no whole number of them.

Without bounds, because msgspec 0.22 crashes on a bounded number beside a tuple.
"""

Rates = dict[Bucket, Rate]

Multiplier = tuple[int, int]
"""What a rate is multiplied with, and then divided by."""


class Tier(Value, rename={"start": "from"}):
    """What replaces the base rates of a whole request whose prompt has at least ``start`` tokens.

    A provider that says "above 200,000" begins at 200,001, one that says "from 200,000" there.
    """

    start: Annotated[int, msgspec.Meta(gt=0)]
    rates: Rates


class Price(Value, rename={"since": "from"}, omit_defaults=True):
    """Rates for a time: from 00:00 UTC of ``since`` up to 00:00 UTC of ``until``.

    ``hours`` limits them to a part of the day, in minutes since 00:00 UTC, the end excluded; it may
    lie across midnight. Later tiers replace the rates of earlier ones.
    """

    rates: Rates
    tiers: list[Tier] = []
    since: date | None = None
    until: date | None = None
    hours: tuple[int, int] | None = None

    @property
    def is_constant(self) -> bool:
        """Whether it is the price of every moment."""
        return (self.since, self.until, self.hours) == (None, None, None)

    def holds(self, at: datetime) -> bool:
        """Say whether it is the price of a moment (with a time zone)."""
        utc = at if at.tzinfo is UTC else at.astimezone(UTC)
        day = utc.date()
        if (self.since and day < self.since) or (self.until and day >= self.until):
            return False
        if self.hours is None:
            return True
        (start, end), minute = self.hours, utc.hour * 60 + utc.minute
        return start <= minute < end if start <= end else minute >= start or minute < end


class Dispute(Value, rename={"start": "from"}, omit_defaults=True):
    """The second source has another rate under ``key``.

    ``variant`` is empty for the standard price, ``start`` is that of the tier.
    """

    key: str
    bucket: Bucket
    rate: Rate
    variant: str = ""
    start: int = 0


class Row(Value, omit_defaults=True):
    """One model at one provider. Of several prices the first that holds at a moment counts.

    ``variants`` are the prices of ``batch``, ``flex``, ``priority``, ``fast`` and the like.
    ``regions`` are those the prices hold for; none named means all. ``uplifts`` are what they are
    multiplied with in a region, ``*`` being any but ``global``. ``minimum`` is what is billed at
    least where there is any of it. ``source`` and ``url`` are the provider's unless given.
    """

    prices: list[Price]
    variants: dict[str, list[Price]] = {}
    name: str = ""
    context_window: int | None = None
    regions: list[str] = []
    uplifts: dict[str, Multiplier] = {}
    minimum: dict[Bucket, int] = {}
    source: str = ""
    url: str = ""
    disputed: list[Dispute] = []


class ProviderEntry(Value, omit_defaults=True):
    """A provider: how its addresses look, and whose models it serves at the prices of those."""

    name: str
    url: str = ""
    hosts: str = ""
    lenders: list[str] = []


TestKind = Literal["equals", "starts_with", "ends_with", "contains", "regex"]
Test = tuple[TestKind, str]


class Pattern(Value):
    """Names that mean ``model``: those that pass every test of one of the groups.

    An empty ``model`` is one that is known, and known to have no price.
    """

    model: str
    groups: list[list[Test]]


class Book(Value):
    """A rate book, read whole."""

    format: int
    name: str
    sources: dict[str, str]
    providers: dict[str, ProviderEntry]
    provider_aliases: dict[str, str]
    aliases: dict[str, dict[str, str]]
    patterns: dict[str, list[Pattern]]
    rows: dict[str, dict[str, Row]]


class BookText(Value):
    """A rate book of which as little is read as can be; the rest when it is asked for."""

    format: int
    name: str
    sources: dict[str, str]
    providers: dict[str, ProviderEntry]
    provider_aliases: dict[str, str]
    aliases: dict[str, msgspec.Raw]
    patterns: dict[str, msgspec.Raw]
    rows: dict[str, msgspec.Raw]


class BookError(ValueError):
    """A text is no rate book."""


_T = TypeVar("_T", Book, BookText)
_encoder = msgspec.json.Encoder(order="deterministic")


def canonical(book: Book) -> bytes:
    """Return the one text of a book."""
    head: dict[str, Any] = {
        name: getattr(book, name) for name in book.__struct_fields__ if name != "rows"
    }
    lines = [b"%b:%b" % (_encoder.encode(key), _lines(head[key])) for key in sorted(head)]
    providers = [
        b"%b:%b" % (_encoder.encode(provider), _lines(rows))
        for provider, rows in sorted(book.rows.items())
    ]
    lines.append(b'"rows":{\n' + b",\n".join(providers) + b"\n}")
    return b"{\n" + b",\n".join(lines) + b"\n}\n"


def _lines(value: Any) -> bytes:
    """Write a mapping with one line an entry, anything else in one."""
    if not isinstance(value, dict) or not value:
        return _encoder.encode(value)
    entries = cast("dict[str, Any]", value)
    lines = [
        b"%b:%b" % (_encoder.encode(key), _encoder.encode(entry))
        for key, entry in sorted(entries.items())
    ]
    return b"{\n" + b",\n".join(lines) + b"\n}"


def book_id(text: bytes) -> str:
    """Name a book by its canonical text."""
    import hashlib  # noqa: PLC0415 - it brings OpenSSL, which prices do not need

    return hashlib.sha256(text).hexdigest()


def read(text: bytes) -> Book:
    """Read a book whole.

    Raises:
        BookError: this is none, or one of another format.
    """
    return _read(text, Book)


def read_lazily(text: bytes) -> BookText:
    """Read a book but for its rows. Raises as ``read`` does."""
    return _read(text, BookText)


def _read(text: bytes, kind: type[_T]) -> _T:
    try:
        book = msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BookError(str(error)) from None
    if book.format != FORMAT:
        raise BookError(f"format {book.format} is not {FORMAT}")
    return book

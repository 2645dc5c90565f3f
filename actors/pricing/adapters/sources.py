"""Price sources as documents: what genai-prices publishes, and price lists of AWS."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast

import msgspec

from actors.pricing.adapters import genai, shipped
from actors.pricing.core.aws_prices import PriceOffer, rows_of
from bus.codec import convert
from bus.errors import ProblemError, problem
from schemas import bounds
from schemas.pricing.book import Book
from schemas.pricing.overlay import laid_over

MOST_BYTES = 256 * 1024 * 1024

MOST_CONTAINERS = 5_000_000
"""Arrays and objects of a price list: AWS writes eight for each product, of which there are
thousands in each region."""

_any = bounds.Decoder[Any](float_hook=Decimal, containers=MOST_CONTAINERS)


class Document(NamedTuple):
    """A source as it was read; ``name`` is its file or URL."""

    name: str
    data: bytes


class Compiled(NamedTuple):
    """A book, and the models of AWS that it has no prices for because it does not know them."""

    book: Book
    unknown: list[str]


def compiled(documents: Sequence[Document]) -> Compiled:
    """Compile a book of sources; of the installed genai-prices where none of them is a newer one.

    Raises:
        ProblemError: ``validation``: a document is no price source; ``unavailable``: genai-prices
            is not installed.
    """
    read = [(each, _read(each)) for each in documents]
    lists = [(each, found) for each, found in read if isinstance(found, list)]
    if len(lists) > 1:
        raise problem("validation", f"{lists[1][0].name}: there is a list of genai-prices already")
    base = genai.read(lists[0][1], lists[0][0].name, lists[0][0].data) if lists else genai.book()
    book, unknown = shipped.over(base), list[str]()
    for _, found in read:
        if isinstance(found, PriceOffer):
            rows = rows_of(found, book)
            book = laid_over(book, rows.overlay)
            unknown += rows.unknown
    return Compiled(book, unknown)


def _read(document: Document) -> list[Any] | PriceOffer:
    """Return the providers of genai-prices, or the offer of a price list.

    Raises:
        ProblemError: ``validation``: it is neither.
    """
    try:
        found = _any.decode(document.data)
        if isinstance(found, list):
            return cast("list[Any]", found)
        return convert(PriceOffer, found)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ProblemError) as error:
        message = f"{document.name}: neither a list of genai-prices nor an offer of AWS: {error}"
        raise problem("validation", message) from None

"""The prices of the package genai-prices, which is needed only to compile a book.

It comes with the extra ``pricing-refresh``.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from actors.pricing.core.compilation import compiled
from bus.errors import problem
from schemas.pricing.book import Book

PACKAGE = "genai-prices"


def book() -> Book:
    """Return the book of the installed package.

    Raises:
        ProblemError: ``unavailable``, if it is not installed.
    """
    try:
        data = import_module("genai_prices.data")
        return compiled(data.providers, version(PACKAGE))
    except (ImportError, PackageNotFoundError):
        reason = f"{PACKAGE} is not installed; it comes with the extra pricing-refresh"
        raise problem("unavailable", reason) from None

"""The overlays that come with this actor, and the book that is compiled from them."""

import tomllib
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from actors.pricing.adapters import genai
from actors.pricing.core.soundness import unsound
from bus.codec import convert
from bus.errors import ProblemError, problem
from bus.files import read as read_file
from schemas import bounds
from schemas.pricing.book import Book
from schemas.pricing.overlay import Overlay, empty, laid_over

OVERLAYS = files("actors.pricing.adapters") / "overlays"
LAID_OVER = ("regions.json", "callboard.toml", "disputed.json")
"""What is laid over the compiled book, in this order."""

_json: bounds.Decoder[dict[str, Any]] = bounds.Decoder(dict[str, Any], float_hook=Decimal)

SOURCE_BOOK = "source-2025-10"


def overlay(name: str) -> Overlay:
    """Read one of the overlays that come with this actor."""
    return parsed((OVERLAYS / name).read_text(encoding="utf-8"), name)


def read_overlay(path: Path) -> Overlay:
    """Read an overlay of the user's, TOML or JSON by its name.

    Raises:
        ProblemError: ``validation``, if it cannot be read, says something else, or something that
            no price can be.
    """
    try:
        read = parsed(read_file(path).decode(), path.name)
    except UnicodeDecodeError as error:
        raise problem("validation", f"{path}: {error}") from None
    fault = unsound(read)
    if fault is not None:
        raise ProblemError(fault)
    return read


def parsed(text: str, name: str) -> Overlay:
    """Read an overlay. Numbers stay decimals, as they are written."""
    try:
        return convert(Overlay, _plain(text, name))
    except RecursionError:
        raise problem("validation", f"{name}: it is nested too deep") from None
    except (ValueError, msgspec.DecodeError) as error:
        raise problem("validation", f"{name}: {error}") from None


def _plain(text: str, name: str) -> dict[str, Any]:
    if name.endswith(".json"):
        return _json.decode(text)
    return tomllib.loads(text, parse_float=Decimal)


def compiled() -> Book:
    """Compile the book anew from the installed price source.

    Raises:
        ProblemError: ``unavailable``, if it is not installed.
    """
    return over(genai.book())


def over(book: Book) -> Book:
    """Lay over a compiled book what comes with this actor."""
    for name in LAID_OVER:
        book = laid_over(book, overlay(name))
    return book


def source_book() -> Book:
    """Return the book of the price table in the requirements."""
    return laid_over(empty(SOURCE_BOOK), overlay(f"{SOURCE_BOOK}.toml"))

"""The prices of genai-prices: of the installed package, or of a list that it publishes.

The package is needed only to compile a book; it comes with the extra ``pricing-refresh``.
"""

import hashlib
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any, cast

from actors.pricing.core.compilation import compiled
from bus.errors import ProblemError, problem
from schemas.pricing.book import Book

PACKAGE = "genai-prices"


def book() -> Book:
    """Return the book of the installed package.

    Raises:
        ProblemError: ``unavailable``, if it is not installed.
    """
    return compiled(_module("data").providers, _version())


def read(providers: Sequence[Any], name: str, data: bytes) -> Book:
    """Return the book of a published list, whose ``data`` were read from ``name``.

    Raises:
        ProblemError: ``unavailable``, if the package is not installed; ``validation``: it has
            another shape, or a kind of price that is not known here.
    """
    version = f"sha256:{hashlib.sha256(data).hexdigest()[:12]}"
    plain: list[Any] = [_without_extractors(each) for each in providers]
    try:
        return compiled(_module("types")._providers_from_raw(plain), version)  # noqa: SLF001  there is no public way
    except (ValueError, TypeError) as error:
        reason = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise problem("validation", f"{name}: no list of genai-prices: {reason}") from None


def _without_extractors(provider: Any) -> Any:
    """Return a provider without what reads usage from answers, which nobody here needs."""
    if not isinstance(provider, dict):
        return provider
    known = cast("dict[str, Any]", provider)
    return {name: value for name, value in known.items() if name != "extractors"}


def _module(name: str) -> Any:
    try:
        return import_module(f"genai_prices.{name}")
    except ImportError:
        raise _missing() from None


def _version() -> str:
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        raise _missing() from None


def _missing() -> ProblemError:
    reason = f"{PACKAGE} is not installed; it comes with the extra pricing-refresh"
    return problem("unavailable", reason)

"""Which row a provider's and a model's name mean. Nothing is guessed: every step is in the book.

Names are compared in lower case. Tried in this order: the model as it is named, without the path of
its resource (``models/…``, ARNs), without the provider's own name before it, and each with a date
written ``-20260102`` for ``-2026-01-02``. Each is looked up as a row, as an alias, and by the
patterns, first at the provider and then at those whose models it serves. Pure.
"""

import re
from collections.abc import Iterator

import msgspec

from schemas.pricing.book import BookText, Pattern, Test
from schemas.pricing.lazy_book import LazyBook

_RESOURCE = re.compile(r"^(?:models|(?:projects/.*|publishers/[^/]+)/models)/(?P<model>[^/]+)$")
_ARN = re.compile(r"^arn:[^:]*:bedrock:(?P<region>[^:]*):[^:]*:[a-z-]+/(?P<model>.+)$")
_COMPACT_DATE = re.compile(r"-(20\d\d)(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(?=-|:|$)")


class WantedPrice(msgspec.Struct, frozen=True):
    """Names as a caller gives them; a second one counts where the book does not know the first."""

    provider: str
    model: str
    region: str = ""
    or_model: str = ""
    or_provider: str = ""


class FoundPrice(msgspec.Struct, frozen=True):
    """The row that names mean. ``region`` is where the model runs, as far as that is told.

    ``seller`` is the provider that was asked for; its models may be another's, at whose prices.
    """

    provider: str
    model: str
    region: str
    seller: str


def provider_of(book: BookText, name: str) -> str | None:
    """Return the book's name of a provider, which may be given by the address of its API."""
    name = name.strip().lower()
    if "://" in name:
        return provider_at(book, name)
    return name if name in book.providers else book.provider_aliases.get(name)


def provider_at(book: BookText, url: str) -> str | None:
    """Return the provider that an address belongs to."""
    for name, entry in book.providers.items():
        if entry.hosts and re.match(entry.hosts, url):
            return name
    return None


def find(lazy_book: LazyBook, wanted: WantedPrice) -> FoundPrice | None:
    """Return the row that is meant, None if the book has none."""
    book = lazy_book.book
    provider = provider_of(book, wanted.provider) or provider_of(book, wanted.or_provider)
    if provider is None:
        return None
    found = _find(lazy_book, provider, wanted.model, wanted.region)
    if found is None and wanted.or_model:
        return _find(lazy_book, provider, wanted.or_model, wanted.region)
    return found


def _find(lazy_book: LazyBook, provider: str, model: str, region: str) -> FoundPrice | None:
    model = model.strip().lower()
    told = _ARN.match(model)
    region = region.strip().lower() or (told["region"] if told else "")
    names = list(dict.fromkeys(_spellings(lazy_book.book, provider, model)))
    if region:
        for name in names:
            if f"{region}/{name}" in lazy_book.rows(provider):
                return FoundPrice(provider, f"{region}/{name}", region, provider)
    for name in names:
        for owner in (provider, *lazy_book.book.providers[provider].lenders):
            row = _row_at(lazy_book, owner, name)
            if row is not None:
                return FoundPrice(owner, row, region, provider) if row else None
    return None


def _spellings(book: BookText, provider: str, model: str) -> Iterator[str]:
    for name in _without_prefixes(book, provider, model):
        yield name
        dashed = _COMPACT_DATE.sub(r"-\1-\2-\3", name)
        yield dashed


def _without_prefixes(book: BookText, provider: str, model: str) -> Iterator[str]:
    yield model
    resource = _ARN.match(model) or _RESOURCE.match(model)
    if resource:
        yield resource["model"]
    prefix, slash, rest = model.partition("/")
    if slash and provider_of(book, prefix) == provider:
        yield rest
        resource = _RESOURCE.match(rest)
        if resource:
            yield resource["model"]


def _row_at(lazy_book: LazyBook, provider: str, name: str) -> str | None:
    if name in lazy_book.rows(provider):
        return name
    alias = lazy_book.aliases(provider).get(name)
    if alias is not None:
        return alias
    for pattern in lazy_book.patterns(provider):
        if _matches(pattern, name):
            return pattern.model
    return None


def _matches(pattern: Pattern, name: str) -> bool:
    return any(all(_passes(test, name) for test in group) for group in pattern.groups)


def _passes(test: Test, name: str) -> bool:
    match test:
        case ("equals", text):
            return name == text
        case ("starts_with", text):
            return name.startswith(text)
        case ("ends_with", text):
            return name.endswith(text)
        case ("contains", text):
            return text in name
        case ("regex", text):
            return re.search(text, name) is not None

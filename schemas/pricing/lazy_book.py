"""A book whose providers are read when they are first asked for, and rows likewise. Pure."""

from collections.abc import Mapping

import msgspec

from schemas.pricing.book import BookText, Pattern, Row

_rows = msgspec.json.Decoder(dict[str, msgspec.Raw])
_aliases = msgspec.json.Decoder(dict[str, str])
_patterns = msgspec.json.Decoder(list[Pattern])
_row = msgspec.json.Decoder(Row)
_NOTHING = msgspec.Raw(b"{}")
_NONE = msgspec.Raw(b"[]")


class LazyBook:
    """The rows, aliases and patterns of each provider."""

    def __init__(self, book: BookText) -> None:
        self.book = book
        self._rows: dict[str, dict[str, msgspec.Raw]] = {}
        self._aliases: dict[str, dict[str, str]] = {}
        self._patterns: dict[str, list[Pattern]] = {}

    def rows(self, provider: str) -> Mapping[str, msgspec.Raw]:
        """Return a provider's rows, unread."""
        if provider not in self._rows:
            self._rows[provider] = _rows.decode(self.book.rows.get(provider, _NOTHING))
        return self._rows[provider]

    def row(self, provider: str, model: str) -> Row | None:
        """Return one row."""
        raw = self.rows(provider).get(model)
        return None if raw is None else _row.decode(raw)

    def aliases(self, provider: str) -> Mapping[str, str]:
        """Return the rows that further names of a provider's models mean."""
        if provider not in self._aliases:
            self._aliases[provider] = _aliases.decode(self.book.aliases.get(provider, _NOTHING))
        return self._aliases[provider]

    def patterns(self, provider: str) -> list[Pattern]:
        """Return the patterns of a provider's names, in their order."""
        if provider not in self._patterns:
            self._patterns[provider] = _patterns.decode(self.book.patterns.get(provider, _NONE))
        return self._patterns[provider]

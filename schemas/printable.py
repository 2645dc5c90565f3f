"""Text of users, agents, models and servers made safe for a terminal. Pure.

A terminal obeys control characters: one answer could clear the screen, change its title, or write
the clipboard (OSC 52). Marks of direction make text look like another one ("Trojan Source",
CVE-2021-42574).
"""

_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
"""C0, DEL and C1: ECMA-48. The single byte 0x9B begins a sequence as ESC [ does."""

_DIRECTIONS = (0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Marks, embeddings, overrides and isolates: UAX #9, section 2."""

_SEPARATORS = (0x2028, 0x2029)
_HALVES = range(0xD800, 0xE000)
"""Half of a surrogate pair cannot be written at all."""

_LINE = {code: f"\\u{code:04x}" for code in (*_CONTROLS, *_DIRECTIONS, *_SEPARATORS, *_HALVES)}
_LINES = {code: shown for code, shown in _LINE.items() if code not in (0x09, 0x0A)}


def printable(text: str, *, one_line: bool = False) -> str:
    """Return a text with control characters as JSON escapes them, so that JSON stays the same.

    Line feed and tab stay unless it is to be ``one_line``; a carriage return before a line feed is
    dropped.
    """
    if text.isprintable() and text.isascii():
        return text
    if one_line:
        return text.translate(_LINE)
    return text.replace("\r\n", "\n").translate(_LINES)

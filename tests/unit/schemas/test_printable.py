"""No text can command a terminal, and no text is lost."""

import json

from hypothesis import given
from hypothesis import strategies as st

from schemas.printable import printable

COMMANDS = {
    "set the clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "clear the screen": "\x1b[2J",
    "a sequence in one byte": "\x9b31m",
    "a string in one byte": "\x9d0;title\x9c",
    "the bell": "\x07",
    "back over what was written": "a\b\b\bb\r",
    "delete": "\x7f",
    "right to left": "\u202egpj.exe",
    "isolates": "\u2066a\u2069",
    "a mark": "\u200fa\u061c",
    "half a pair": "\ud83d",
    "line separators": "\u2028\u2029\x85",
    "null": "\x00",
}
FORBIDDEN = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))} | {
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
}


def test_commands_of_terminals_are_shown_instead_of_obeyed():
    for text in COMMANDS.values():
        shown = printable(text)
        assert not FORBIDDEN & set(shown)
        shown.encode()
    assert printable("\x1b[2J") == "\\u001b[2J"


@given(text=st.text(st.characters(codec=None)))
def test_nothing_else_changes_and_lines_stay_lines(text: str):
    assert not (FORBIDDEN - {"\n", "\t"}) & set(printable(text))
    assert not FORBIDDEN & set(printable(text, one_line=True))
    plain = "".join(each for each in text if each not in FORBIDDEN)
    assert printable(plain) == plain


def test_a_line_feed_and_a_tab_stay_where_lines_may_be():
    assert printable("a\tb\r\nc\n") == "a\tb\nc\n"
    assert printable("a\tb\nc", one_line=True) == "a\\u0009b\\u000ac"


@given(text=st.text())
def test_json_stays_the_same_json(text: str):
    written = json.dumps({"k": text}, ensure_ascii=False)
    assert json.loads(printable(written, one_line=True)) == {"k": text}

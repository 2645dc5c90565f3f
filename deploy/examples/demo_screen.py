"""What the demo writes on the terminal: plain text, coloured where a person looks at it."""

import os
import re
import sys

WIDTH = 96
INDENT = "   "

BOLD, DIM, RED, GREEN, YELLOW, CYAN = "1", "2", "31", "32", "33", "36"


class Screen:
    """Writes headings, rows and an answer that grows token by token."""

    def __init__(self) -> None:
        self._coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self._column = 0

    def heading(self, text: str) -> None:
        """Begin a part of the story."""
        self._write_line("")
        self._write_line(self._paint(text, BOLD))

    def say(self, text: str, *, colour: str = "") -> None:
        """Write one line."""
        self._write_line(INDENT + self._paint(text, colour))

    def row(self, name: str, value: object) -> None:
        """Write a name and what it is."""
        self._write_line(f"{INDENT}{self._paint(f'{name:<14}', DIM)}{value}")

    def verdict(self, statement: str, *, holds: bool) -> None:
        """Write a statement and whether it was observed to hold."""
        mark, colour = ("ok  ", GREEN) if holds else ("FAIL", RED)
        self._write_line(f"{INDENT}{self._paint(mark, colour)} {statement}")

    def token(self, text: str) -> None:
        """Write a piece of the answer where the last one ended; long lines break at spaces."""
        for position, line in enumerate(text.split("\n")):
            if position:
                self._end_line()
            self._write_piece(line)
        sys.stdout.flush()

    def text(self, whole: str) -> None:
        """Write a whole text as if it came word by word."""
        for word in re.findall(r"\s*\S+", whole):
            self.token(word)

    def _write_piece(self, text: str) -> None:
        if self._column > len(INDENT) and self._column + len(text) > WIDTH and text.startswith(" "):
            self._end_line()
            text = text[1:]
        if text and not self._column:
            sys.stdout.write(INDENT)
            self._column = len(INDENT)
        sys.stdout.write(self._paint(text, CYAN) if text else "")
        self._column += len(text)

    def _end_line(self) -> None:
        sys.stdout.write("\n")
        self._column = 0

    def _write_line(self, line: str) -> None:
        if self._column:
            self._end_line()
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    def _paint(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._coloured and colour else text

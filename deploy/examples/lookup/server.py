"""A small MCP server on standard input and output: it looks things up in a Markdown file.

    python deploy/examples/lookup/server.py FILE

It offers one tool, ``find_section``. The file is read once; its sections are those of its headings.
"""

import re
import sys
from pathlib import Path
from typing import Annotated

import anyio
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import BaseModel, Field

EX_USAGE = 64

TITLE_WEIGHT = 3
"""How many times more a word counts in a heading than in the text below it."""

LEAST_LETTERS = 3
"""Shorter words, such as "of", say nothing about a section."""

_HEADING = re.compile(r"^#+ +", re.MULTILINE)
_WORD = re.compile(r"\w+")

READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)


class Section(BaseModel):
    """A section of the file."""

    title: str
    text: str


class Sections:
    """The sections of a text; a word is looked for as a whole, in any case."""

    def __init__(self, markdown: str) -> None:
        parts = (part.partition("\n") for part in _HEADING.split(markdown)[1:])
        self._sections = [
            (Section(title=title.strip(), text=text.strip()), _words(title), _words(text))
            for title, _, text in parts
        ]

    def find_section(
        self,
        words: Annotated[
            str,
            Field(min_length=3, max_length=60, description="Words that the section should hold."),
        ],
    ) -> Section:
        """Find the section that fits some words best."""
        wanted = _words(words)
        best, most = None, 0
        for section, title, text in self._sections:
            score = TITLE_WEIGHT * len(wanted & title) + len(wanted & text)
            if score > most:
                best, most = section, score
        if best is None:
            raise ToolError(f"No section holds any word of {words!r}.")
        return best


def server(markdown: str) -> MCPServer:
    """Return a server that offers the look-up in a text."""
    offered = MCPServer("lookup", instructions="Looks things up in a document.")
    offered.add_tool(Sections(markdown).find_section, annotations=READS)
    return offered


def _words(text: str) -> set[str]:
    return {word for word in _WORD.findall(text.casefold()) if len(word) >= LEAST_LETTERS}


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004 - the program and its file
        print("usage: server.py FILE", file=sys.stderr)
        sys.exit(EX_USAGE)
    anyio.run(server(Path(sys.argv[1]).read_text(encoding="utf-8")).run_stdio_async)

"""The guides' generated parts: ``python -m tests.architecture.readme`` writes them anew.

README.md leads to the guides, which lie beside what they describe. A generated table stands once,
in the guide that holds its markers.
"""

import re
import sys
from pathlib import Path

from actors.cli.config import CliConfig
from bus.config import reference
from bus.config.reading import beside
from schemas.documents import subjects_table
from tests.architecture.tree import ROOT

README = ROOT / "README.md"
ROOMS = ("actors", "bus", "deploy", "tests")
GUIDES = (README, *sorted(path for room in ROOMS for path in (ROOT / room).rglob("README.md")))

SUBJECTS_BEGIN, SUBJECTS_END = "<!-- subjects:begin -->", "<!-- subjects:end -->"


def subjects_block() -> str:
    """Return the table of subjects as it stands in its guide, markers included."""
    return f"{SUBJECTS_BEGIN}\n{subjects_table()}{SUBJECTS_END}"


def blocks(language: str, guide: Path = README) -> list[str]:
    """Return a guide's code blocks in one language."""
    text = guide.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the command lines that the guides show, without what is said of them."""
    console = (block for guide in GUIDES for block in blocks("console", guide))
    shown = re.findall(r"^\$ (.*?)(?: +# .*)?$", "\n".join(console), re.MULTILINE)
    return list(dict.fromkeys(shown))


def renewed(text: str) -> str:
    """Return a guide with its generated parts as they should be."""
    for begin, end, block in (
        (SUBJECTS_BEGIN, SUBJECTS_END, subjects_block()),
        (reference.BEGIN, reference.END, reference.readme_block(beside(CliConfig))),
    ):
        if begin in text:
            before, rest = text.split(begin, 1)
            text = before + block + rest.split(end, 1)[1]
    return text


def anchors(text: str) -> set[str]:
    """Return the anchors of a guide's headings, as they are made of Markdown."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def main() -> int:
    """Write the generated parts."""
    for guide in GUIDES:
        guide.write_text(renewed(guide.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

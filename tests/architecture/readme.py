"""The README's generated parts: ``python -m tests.architecture.readme`` writes them anew."""

import re
import sys
from pathlib import Path

from bus.config import reference
from schemas.documents import subjects_table
from tests.architecture.tree import ROOT

README = ROOT / "README.md"

SUBJECTS_BEGIN, SUBJECTS_END = "<!-- subjects:begin -->", "<!-- subjects:end -->"


def subjects_block() -> str:
    """Return the table of subjects as it stands in the README, markers included."""
    return f"{SUBJECTS_BEGIN}\n{subjects_table()}{SUBJECTS_END}"


def blocks(language: str) -> list[str]:
    """Return the README's code blocks in one language."""
    text = README.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def renewed(text: str) -> str:
    """Return the README with its generated parts as they should be."""
    for begin, end, block in (
        (SUBJECTS_BEGIN, SUBJECTS_END, subjects_block()),
        (reference.BEGIN, reference.END, reference.readme_block()),
    ):
        before, rest = text.split(begin, 1)
        text = before + block + rest.split(end, 1)[1]
    return text


def main(readme: Path = README) -> int:
    """Write the generated parts."""
    readme.write_text(renewed(readme.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

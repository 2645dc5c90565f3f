"""The source tree, as the architecture tests read it: parsed, never imported."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "bus", "schemas")
NOT_ACTORS = {"cli", "fleet"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


class Module(NamedTuple):
    """One source file; ``path`` is relative to the root, with forward slashes."""

    path: str
    text: str
    syntax: ast.Module


def modules(*packages: str) -> Iterator[Module]:
    """Yield every module of these packages in the order of their paths."""
    for package in packages:
        for file in sorted((ROOT / package).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            yield Module(file.relative_to(ROOT).as_posix(), text, ast.parse(text))


def functions(module: Module) -> Iterator[Function]:
    """Yield every function of a module, methods and inner functions included."""
    for node in ast.walk(module.syntax):
        if isinstance(node, Function):
            yield node


def actors() -> list[Path]:
    """List the actor packages; the fleet and the command line are none."""
    return sorted(
        folder
        for folder in (ROOT / "actors").iterdir()
        if folder.is_dir() and folder.name not in NOT_ACTORS and any(folder.rglob("*.py"))
    )

"""A name is given once: no two public classes are called the same."""

import ast
from collections import defaultdict

from tests.architecture.tree import PACKAGES, modules

ALIKE: dict[str, str] = {}
"""Names that several classes have, each with the reason. It may only grow shorter."""


def test_a_public_class_has_a_name_of_its_own():
    assert {name: places for name, places in _shared().items() if name not in ALIKE} == {}


def test_what_is_excepted_is_still_there():
    assert set(ALIKE) <= set(_shared())


def _shared() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for module in modules(*PACKAGES):
        for node in module.syntax.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(module.path)
    return {name: places for name, places in found.items() if len(places) > 1}

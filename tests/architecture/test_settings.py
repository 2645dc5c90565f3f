"""A setting that acts on nothing does not exist: each is read somewhere."""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bus.config import Config, Timing
from tests.architecture.tree import ROOT, actors, modules

HOLDERS = frozenset({"config", "defaults", "own", "settings", "timing"})
"""What an object of settings is called where it is read, with or without an underscore."""

READ_AT_USE = {"secrets_file": 'FILE_SETTING = "CALLBOARD_SECRETS_FILE"'}
"""Settings that another module reads from the environment by itself, and where it says so."""


def read_in(*packages: str) -> set[str]:
    """Return the attributes that are read of settings."""
    return {
        node.attr
        for module in modules(*packages)
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.Attribute) and _name(node.value) in HOLDERS
    }


def _name(holder: ast.expr) -> str:
    match holder:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name.lstrip("_")
        case _:
            return ""


def own_settings() -> Iterator[tuple[str, type[Any]]]:
    """Yield the settings that each actor defines, with the place of the actor."""
    for folder in actors():
        config = importlib.import_module(f"actors.{folder.name}.config")
        for _, kind in inspect.getmembers(config, inspect.isclass):
            if issubclass(kind, msgspec.Struct) and kind.__module__ == config.__name__:
                yield f"actors/{folder.name}", kind


@pytest.mark.parametrize("kind", [Config, Timing])
def test_every_setting_of_the_fleet_is_read_somewhere(kind: type[Any]):
    unread = set(kind.__struct_fields__) - read_in("actors", "bus")

    assert unread == (set(READ_AT_USE) if kind is Config else set())


@pytest.mark.parametrize("text", READ_AT_USE.values())
def test_what_is_read_at_its_use_is_read_there(text: str):
    assert text in Path(ROOT / "bus" / "secrets.py").read_text(encoding="utf-8")


def test_every_setting_of_an_actor_is_read_by_it():
    unread = {
        f"{kind.__name__}.{field}"
        for place, kind in own_settings()
        for field in set(kind.__struct_fields__) - read_in(place)
    }

    assert unread == set()
    assert {kind.__name__ for _, kind in own_settings()} >= {"AgentsConfig", "StreamingConfig"}

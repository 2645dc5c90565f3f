"""A setting that acts on nothing does not exist: each is read somewhere."""

import ast
import inspect
from collections.abc import Iterator
from typing import Any, get_type_hints

import msgspec
import pytest

from actors.cli.config import CliConfig
from bus.config import Config, Timing
from bus.config.reading import Settings, beside
from bus.streams.spec import stream_specs
from tests.architecture.tree import actors, modules

HOLDERS = frozenset(
    {"config", "defaults", "limits", "spending_policy", "own", "settings", "terms", "timing"}
)
"""What an object of settings is called where it is read, with or without an underscore."""

BY_NAME = {spec.quota for spec in stream_specs((), Timing())}
"""Quotas that the stream names in which they hold."""


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


def own_reads(kind: type[msgspec.Struct]) -> set[str]:
    """Return what the methods of a Struct read of it."""
    return {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(kind)))
        if isinstance(node, ast.Attribute) and _name(node.value) == "self"
    }


def unread(
    kind: type[msgspec.Struct], read: set[str], base: type[msgspec.Struct] | None = None
) -> Iterator[str]:
    """Yield the fields of a Struct, and of those within it, that nobody reads but itself.

    What it has from ``base`` is left out.
    """
    read = read | own_reads(kind)
    hints = get_type_hints(kind)
    for field in set(kind.__struct_fields__) - set(base.__struct_fields__ if base else ()):
        hint = hints[field]
        if field not in read:
            yield f"{kind.__name__}.{field}"
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from unread(hint, read)


def test_every_actor_declares_its_settings():
    assert {kind.__module__ for kind in beside(CliConfig)} == {
        "actors.cli.config",
        *(f"actors.{folder.name}.config" for folder in actors()),
    }


@pytest.mark.parametrize("kind", [Config, Timing])
def test_every_setting_of_the_fleet_is_read_somewhere(kind: type[Any]):
    assert sorted(unread(kind, read_in("actors", "bus") | BY_NAME)) == []


@pytest.mark.parametrize("kind", beside(CliConfig))
def test_every_setting_of_an_actor_is_read_by_it(kind: type[Settings]):
    place = kind.__module__.removesuffix(".config").replace(".", "/")

    assert sorted(unread(kind, read_in(place), Config)) == []

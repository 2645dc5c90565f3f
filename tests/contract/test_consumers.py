"""Every request of the contract has one actor that answers it."""

import importlib
import inspect
import pkgutil
from collections import Counter
from collections.abc import Iterator
from typing import Any

import actors
from bus.service import Endpoint
from schemas import catalog

APART = ("actors.cli", "actors.fleet")
"""They are no actors: they answer nothing."""


def _handlers() -> Iterator[type[Any]]:
    """Yield the classes of actors that say which requests they answer."""
    for module in pkgutil.walk_packages(actors.__path__, "actors."):
        if module.name.startswith(APART) or module.name.endswith("__main__"):
            continue
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if kind.__module__ == module.name and inspect.isfunction(
                getattr(kind, "endpoints", None)
            ):
                yield kind


def _answered() -> list[Endpoint]:
    return [
        endpoint
        for kind in _handlers()
        if not getattr(kind, "_is_protocol", False)
        for endpoint in kind.endpoints(object.__new__(kind))
    ]


def test_every_request_has_one_consumer_and_a_reply():
    answered = Counter(endpoint.request.SUBJECT for endpoint in _answered())

    assert answered == Counter(row.name for row in catalog.requests())
    assert all(row.reply.__doc__ for row in catalog.requests())

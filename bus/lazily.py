"""Modules that are imported when something of them is first used.

nats-py imports aiohttp for WebSockets, which hardly anybody speaks to the bus; that takes longer
than all else that a command imports. (``importlib.util.LazyLoader`` reads the module at the very
``import`` in Python 3.11.)
"""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any


class _Later(ModuleType):
    """Stands for a module until an attribute is asked for."""

    def __getattr__(self, name: str) -> Any:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        module = import_module(self.__name__)
        self.__dict__.update(module.__dict__)
        return getattr(module, name)


def later(name: str) -> None:
    """Have ``import name`` return at once; the module is read when something of it is used."""
    if name not in sys.modules and find_spec(name) is not None:
        sys.modules[name] = _Later(name)

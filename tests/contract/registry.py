"""Every class whose bytes leave a process: what users see, and what the fleet tells itself."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

import msgspec

import schemas
from schemas.base import PUBLIC, Internal, Message, Request

IN_PROCESS = {"schemas.base", "schemas.decision"}
"""Modules of classes that never travel: the shapes of messages, and what a core returns."""

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def message_classes() -> list[type[msgspec.Struct]]:
    """Return the classes that travel whole or are told apart by a ``type``, by name."""
    # All modules first: what is a base shows when the last of them is imported.
    travelling = {kind for kind in list(_structs()) if _travels(kind)}
    return sorted(travelling, key=lambda kind: kind.__name__)


def public_template(kind: type[msgspec.Struct]) -> str | None:
    """Return the subject of a class if it is a public one."""
    if issubclass(kind, Request):
        return f"{PUBLIC}{kind.SUBJECT}"
    subject = getattr(kind, "SUBJECT", None)
    return subject if subject is not None and subject.startswith("cb.") else None


def file_name(kind: type[msgspec.Struct]) -> str:
    """Return a class's name as its golden files are named: ``ExecuteAgent``, ``execute_agent``."""
    return _WORD.sub("_", kind.__name__).lower()


def _structs() -> Iterator[type[msgspec.Struct]]:
    for entry in pkgutil.iter_modules(schemas.__path__, "schemas."):
        module = importlib.import_module(entry.name)
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, msgspec.Struct):
                yield value


def _travels(kind: type[msgspec.Struct]) -> bool:
    is_base = bool(kind.__subclasses__()) or kind.__name__.startswith("_")
    if is_base or kind.__module__ in IN_PROCESS:
        return False
    return issubclass(kind, Message | Request | Internal) or kind.__struct_config__.tag is not None

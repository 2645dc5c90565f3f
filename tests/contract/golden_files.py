"""The golden files: ``<name>.v<n>.json`` for each message, and the two documents.

The newest version of a message is what is written today. All older ones must still be readable: a
new version is added when a field is added to a published message.
"""

import re
from collections.abc import Callable
from pathlib import Path

import msgspec

from bus.codec import encode
from schemas.documents import asyncapi, json_schema
from tests.contract.examples import example
from tests.contract.registry import file_name, message_classes

FOLDER = Path(__file__).parent / "golden"

_VERSION = re.compile(r"\.v(\d+)\.json$")

DOCUMENTS: dict[str, Callable[[], dict[str, object]]] = {
    "asyncapi.json": asyncapi,
    "json_schema.json": json_schema,
}


def versions(kind: type[msgspec.Struct]) -> list[Path]:
    """Return the golden files of a class, oldest first."""
    return sorted(FOLDER.glob(f"{file_name(kind)}.v*.json"), key=version_of)


def version_of(path: Path) -> int:
    """Return the number in the name of a golden file."""
    match = _VERSION.search(path.name)
    assert match is not None, path
    return int(match[1])


def path_of(kind: type[msgspec.Struct], version: int) -> Path:
    """Return where a version of a class's golden file stands."""
    return FOLDER / f"{file_name(kind)}.v{version}.json"


def document(name: str) -> bytes:
    """Return a document as its golden file should hold it."""
    return msgspec.json.format(encode(DOCUMENTS[name]()), indent=2) + b"\n"


def wanted() -> dict[Path, bytes]:
    """Return the newest golden file of everything, and what it should hold."""
    files = {FOLDER / name: document(name) for name in DOCUMENTS}
    for kind in message_classes():
        written = versions(kind)
        files[written[-1] if written else path_of(kind, 1)] = encode(example(kind))
    return files

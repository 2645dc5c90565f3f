"""Files of users and operators: bounded, regular ones only, and whatever is wrong is said typed.

A pipe or a device would be waited for without end, and YAML can grow a thousand million values from
a few lines.
"""

import os
import stat
from collections import defaultdict
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import yaml

from bus.codec import accept, convert
from bus.errors import ProblemError, problem
from schemas.bounds import MAX_DEPTH

T = TypeVar("T")

MAX_BYTES = 8 * 1024 * 1024
"""What one message carries at most, so no definition can be larger."""

MAX_YAML_BYTES = 2 * 1024 * 1024
"""YAML is read a hundred times slower than JSON."""

MAX_ALIASES = 1000
MAX_NODES = 50_000
"""Values of a YAML text, each alias counted as what it stands for."""

MAX_REASON = 200
MAX_NUMBER = 64
"""Characters of a number in YAML: one in base 60 costs time quadratic in its length."""

_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def keep_private() -> None:
    """Make every file that this process creates its user's alone, and those of its children.

    What the data directory holds are prompts and answers of all tenants.
    """
    os.umask(0o077)


def create(path: Path, text: str) -> None:
    """Write a text to a new file that is its user's alone.

    Raises:
        ProblemError: ``validation``: the file stands already, or cannot be written.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise problem("validation", f"cannot write {path}: {error.strerror}") from None


def read(path: Path | str, *, most: int = MAX_BYTES) -> bytes:
    """Return what is in a regular file of at most so many bytes.

    Raises:
        ProblemError: ``validation``: it cannot be read, is no regular file, or is larger.
    """
    try:
        return _read(Path(path), most)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise problem("validation", f"cannot read {path}: {reason or 'no such name'}") from None


def bounded(file: BinaryIO, name: str, *, most: int = MAX_BYTES) -> bytes:
    """Return what is left in an open file, such as standard input.

    Raises:
        ProblemError: ``validation``: it is more than so many bytes.
    """
    data = file.read(most + 1)
    if len(data) > most:
        raise problem("validation", f"{name} is larger than {most} bytes")
    return data


def parsed(data: bytes, kind: type[T], *, is_json: bool) -> T:
    """Read one value from JSON or YAML.

    Raises:
        ProblemError: ``validation``, with the field where it is one.
    """
    if is_json:
        return accept(kind, data)
    found = documents(data)
    if len(found) > 1:
        raise problem("validation", "there are several YAML documents, and one is expected")
    return convert(kind, found[0] if found else None)


def documents(data: bytes) -> list[Any]:
    """Return the YAML documents of a text, empty ones left out.

    Raises:
        ProblemError: ``validation``: it is malformed, or exceeds a bound.
    """
    if len(data) > MAX_YAML_BYTES:
        raise problem("validation", f"YAML is read up to {MAX_YAML_BYTES} bytes")
    try:
        found: list[Any] = list(yaml.load_all(data.decode(), _Loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark is not None else ""
        raise problem("validation", f"YAML is malformed{where}{_reason(error)}") from None
    except UnicodeDecodeError:
        raise problem("validation", "it is no text in UTF-8: is it a binary file?") from None
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        # A date that is none, a number of 5000 digits, a list as the key of an object.
        raise problem("validation", f"YAML is malformed: {_REASONS[type(error)]}") from None
    return [document for document in found if document is not None]


def of(path: Path, kind: type[T]) -> T:
    """Read one value from a file: JSON by its name, YAML otherwise.

    Raises:
        ProblemError: ``validation``, with the name of the file.
    """
    data = read(path)
    try:
        return parsed(data, kind, is_json=path.suffix == ".json")
    except ProblemError as error:
        raise named(error, str(path)) from None


def named(error: ProblemError, path: str) -> ProblemError:
    """Return an error that says as well in which file it is."""
    found = error.problem
    return problem(found.code, f"{path}: {found.message}", field=found.field)


def _read(path: Path, most: int) -> bytes:
    # Without O_NONBLOCK the opening of a pipe waits for somebody to write to it.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise problem("validation", f"{path} is no regular file")
        return bounded(file, str(path), most=most)


_REASONS: defaultdict[type, str] = defaultdict(
    lambda: "a value is none: a number or a date",
    {TypeError: "a key is no text", RecursionError: "it is nested too deep"},
)

_HINTS = {
    "mapping values are not allowed here": 'a text with ": " in it needs quotes',
    "cannot start any token": "indent with spaces, and put quotes around texts with %, @ or `",
    "could not determine a constructor": 'a text that begins with "!" needs quotes',
    "undefined alias": 'a text that begins with "*" needs quotes',
    "but found '-'": "a list stands under its name, further in",
}
"""What helps, by what the parser says."""


def _reason(error: yaml.YAMLError) -> str:
    """Return what the parser has found, and what mostly helps."""
    found = str(getattr(error, "problem", None) or "")[:MAX_REASON]
    hint = next((words for said, words in _HINTS.items() if said in found), "")
    return "".join([f": {found}" if found else "", f" ({hint})" if hint else ""])


class _BoundError(yaml.MarkedYAMLError):
    """A document exceeds a bound."""

    def __init__(self, reason: str, mark: Any) -> None:
        super().__init__(problem=reason, problem_mark=mark)
        self.reason = reason


class _Loader(yaml.SafeLoader):
    """A safe loader that counts what a document comes to, each alias as what it stands for.

    It counts nodes before any is made into a value, because merging keys multiplies them then.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = 0
        self._nodes = 0
        self._aliases = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Compose a node and what is in it, within the bounds."""
        event = cast("Any", self.peek_event())  # pyright: ignore[reportUnknownMemberType]  untyped
        mark, is_alias = event.start_mark, isinstance(event, yaml.AliasEvent)
        before = self._nodes
        self._depth += 1
        self._nodes += 1
        self._demand(self._depth <= MAX_DEPTH + 1, f"nested deeper than {MAX_DEPTH}", mark)
        node: Any = super().compose_node(parent, index)
        self._depth -= 1
        if is_alias:
            self._aliases += 1
            self._demand(self._aliases <= MAX_ALIASES, f"more than {MAX_ALIASES} aliases", mark)
            # One that stands in itself has no size yet.
            self._demand(id(node) in self._sizes, "an alias of what it stands in", mark)
            self._nodes += self._sizes[id(node)]
        else:
            self._sizes[id(node)] = self._nodes - before
            self._demand(not _is_endless(node), f"a number of over {MAX_NUMBER} characters", mark)
        self._demand(self._nodes <= MAX_NODES, f"more than {MAX_NODES} values", mark)
        return node

    def compose_document(self) -> Any:
        """Compose a document; the bounds are for all of them together."""
        self._sizes.clear()
        return super().compose_document()

    def _demand(self, holds: bool, reason: str, mark: Any) -> None:  # noqa: FBT001  as assert
        if not holds:
            raise _BoundError(reason, mark)


def _is_endless(node: yaml.Node) -> bool:
    return node.tag in _NUMBERS and len(cast("str", node.value)) > MAX_NUMBER

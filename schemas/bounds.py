"""What may come in: bounds for every JSON text, and every plain object, from outside.

Users, providers and files are outside; journals, snapshots and traffic between our own processes
are not. The recursion limit of the decoder depends on interpreter and stack: a text that it reads
at one place it may not read at another. So what comes in is bounded far below it, and whatever the
fleet wraps around it (a command, an entry, a commit, a snapshot) stays readable.
"""

from collections.abc import Callable, Iterable, Iterator
from datetime import date, time
from decimal import Decimal
from itertools import accumulate, islice
from math import isfinite
from typing import Any, Generic, TypeVar, cast

import msgspec

from schemas.scanning import (
    MAX_INTEGER,
    Outside,
    holds_out_of_range,
    may_be_out_of_range,
    outside,
)
from schemas.steps import Steps, at_once

T = TypeVar("T")
Text = bytes | bytearray | memoryview | msgspec.Raw | str

MAX_DEPTH = 64
"""How deep arrays and objects may be nested; tool schemas of large APIs reach about 20."""

MAX_CONTAINERS = 100_000
"""How many arrays and objects there may be: each costs 60 to 200 bytes of memory when decoded."""

MAX_NODES = 1_000_000
"""How many values a plain object may hold, each counted as often as it is referred to."""

VALUES_EACH = 10
"""How many values there may be for each container that is allowed; by default ``MAX_NODES``."""

STRINGS_EACH = 5
"""How many strings there may be for each container that is allowed, where there is more than a
few."""

MAX_EXPONENT = 308
"""That of a decimal number, as of a float. One of a thousand million would fill the memory."""

_OUT_OF_RANGE_MESSAGE = "Integer value out of range: 64 bits with a sign are read"

SHORT = 4096
"""Up to so many characters brackets are counted first; few such texts hold many."""

_FLAT_PASSES = 4
_STEPS = [(byte in b"[{") - (byte in b"]}") for byte in range(256)]
_END = (None, None)
_MEMBERS = 1000
"""Of an object: among so many fields the one that exceeds a bound is looked for."""

_ONE_ARRAY = 5 * (MAX_DEPTH - 1) + 2 + 2
"""Characters of the shortest text that is nested too deep with at most one array."""
_NO_TEXT = "JSON is malformed: it is no text"
_SCALARS = (str, int, float, bool, type(None), bytes, Decimal, date, time)


class BoundsError(msgspec.ValidationError):
    """A text or object exceeds a bound of this module."""


def check(text: Text, *, containers: int = MAX_CONTAINERS) -> None:
    """Check depth and number of containers of a JSON text, in time linear in its length.

    Raises:
        BoundsError: it is nested deeper than ``MAX_DEPTH``, or holds too many containers, strings
            or values.
    """
    if not _is_flat(text):
        at_once(_checked(_bytes(text), containers))


def check_integers(text: Text) -> None:
    """Check that a JSON text holds no integer that 64 bits with a sign cannot hold.

    Raises:
        BoundsError: it does, or holds too many strings or values.
    """
    data = _bytes(text)
    if len(data) > SHORT or may_be_out_of_range(data):
        at_once(_checked_integers(data, None))


def check_whole(text: Text) -> None:
    """Check all that ``check`` and ``check_integers`` do.

    Raises:
        BoundsError: as they do.
    """
    if len(text) <= SHORT:
        check(text)
        check_integers(text)
    else:
        at_once(checking(text))


def checking(text: Text) -> Steps[None]:
    """Do as ``check_whole``, with pauses where a text is long. Raises as it does."""
    data = _bytes(text)
    yield from _checked_integers(data, (yield from _checked(data, MAX_CONTAINERS)))


def check_value(value: Any) -> None:
    """Check a plain object, such as a parsed YAML file, as if it were JSON.

    Raises:
        BoundsError: it is too deep or too large, or holds what JSON cannot: a number that is not
            finite, half of a surrogate pair, a key that is no text, another type.
    """
    nodes = 0
    path: list[str] = []
    pending: list[Iterator[tuple[str | None, Any]]] = [iter((("$", value),))]
    while pending:
        depth = len(pending)
        try:
            step, each = next(pending[-1], _END)
            if step is None:
                pending.pop()
                continue
            path[depth - 1 :] = [step]
            inner = _inside(each)
            _demand_room(nodes := nodes + 1, depth, is_scalar=inner is None)
        except BoundsError as error:
            raise BoundsError(f"{error} - at `{''.join(path)}`") from None
        if inner is not None:
            pending.append(inner)


def decode(
    text: Text,
    *,
    type: Any = Any,  # noqa: A002  as msgspec calls it
    containers: int = MAX_CONTAINERS,
) -> Any:
    """Decode JSON from outside.

    Raises:
        msgspec.DecodeError: it is malformed, another type, or exceeds a bound.
    """
    check(text, containers=containers)
    try:
        return msgspec.json.decode(text, type=type)
    except UnicodeError:
        raise BoundsError(_NO_TEXT) from None


class Decoder(Generic[T]):
    """Decodes JSON from outside into one type, as ``msgspec.json.Decoder`` does its own."""

    __slots__ = ("_containers", "_decode")

    def __init__(
        self,
        kind: type[T] = cast("type[Any]", Any),  # noqa: B008  it only calms the type checker
        *,
        float_hook: Callable[[str], Any] | None = None,
        containers: int = MAX_CONTAINERS,
    ) -> None:
        decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind, float_hook=float_hook)
        self._decode = decoder.decode
        self._containers = containers

    def decode(self, text: Text) -> T:
        """Decode. Raises as the function ``decode`` does."""
        # Of a short text it is enough to find no second array: this is done for each delta, and
        # searching takes a tenth of the time of counting.
        if (
            not isinstance(text, str)
            or len(text) >= _ONE_ARRAY
            or text.find("[", text.find("[") + 1) >= 0
        ) and not _is_flat(text):
            check(text, containers=self._containers)
        try:
            return self._decode(text)
        except UnicodeError:
            raise BoundsError(_NO_TEXT) from None


_any: Decoder[Any] = Decoder()


def is_json(text: Text) -> bool:
    """Whether a text is JSON, complete and within the bounds."""
    try:
        _any.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _is_flat(text: Text) -> bool:
    """Say whether a text can be seen at once to be within the bounds: nearly all are short.

    One that is nested too deep, and closed, has two characters for each array and five for each
    object, as in ``{"":}``. Else brackets are counted, those in strings as well.
    """
    size = len(text)
    if size <= 2 * MAX_DEPTH:
        return True
    if size > SHORT:
        return False
    if isinstance(text, str):
        return text.count("{") + text.count("[") <= MAX_DEPTH
    if isinstance(text, bytes):
        return text.count(b"{") + text.count(b"[") <= MAX_DEPTH
    return False


def _demand_room(nodes: int, depth: int, *, is_scalar: bool) -> None:
    if nodes > MAX_NODES:
        raise BoundsError(f"there are more than {MAX_NODES} values, aliases counted")
    if not is_scalar and depth > MAX_DEPTH:
        raise BoundsError(f"values are nested deeper than {MAX_DEPTH}")


def _inside(value: Any) -> Iterator[tuple[str | None, Any]] | None:
    """Return what a value holds, each with its step of the path; None for a scalar."""
    match value:
        case str():
            _check_text(value)
        case bool():
            pass
        case int() if not _fits(value):
            raise BoundsError(_OUT_OF_RANGE_MESSAGE)
        case float() if not isfinite(value):
            raise BoundsError("Number out of range: it must be finite")
        case Decimal() if not value.is_finite() or abs(value.adjusted()) > MAX_EXPONENT:
            raise BoundsError("Number out of range: it must be finite")
        case dict():
            return _fields(cast("dict[Any, Any]", value))
        case list() | tuple() | set() | frozenset():
            each = cast("Iterable[Any]", value)
            return ((f"[{place}]", item) for place, item in enumerate(each))
        case _ if not isinstance(value, _SCALARS):
            raise BoundsError(f"{type(value).__name__} is no type of JSON")
        case _:
            pass
    return None


def _fields(fields: dict[Any, Any]) -> Iterator[tuple[str | None, Any]]:
    for key, value in fields.items():
        # YAML has keys that are numbers; JSON writes them as text.
        if not isinstance(key, str | int) or isinstance(key, bool):
            raise BoundsError(f"a key must be a text, not {type(key).__name__}")
        yield f".{key}", value


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise BoundsError("a text holds half of a surrogate pair") from None


def _fits(value: int) -> bool:
    return -MAX_INTEGER <= value <= MAX_INTEGER


def _bytes(text: Text) -> bytes:
    return text.encode("utf-8", "surrogatepass") if isinstance(text, str) else bytes(text)


def _outside(data: bytes, containers: int) -> Steps[Outside]:
    strings, values = containers * STRINGS_EACH, containers * VALUES_EACH
    found = yield from outside(data, most_strings=strings, most_commas=values)
    if found.strings > strings:
        raise BoundsError(f"JSON holds more than {strings} strings")
    if found.commas > values:
        raise BoundsError(f"JSON holds more than {values} values")
    return found


def _checked(data: bytes, containers: int) -> Steps[Outside]:
    found = yield from _outside(data, containers)
    brackets = found.brackets
    if brackets.count(b"[") + brackets.count(b"{") > containers:
        raise BoundsError(f"JSON holds more than {containers} arrays and objects")
    if _exceeds(brackets, MAX_DEPTH):
        place = yield from _place(data, _is_too_deep)
        raise BoundsError(f"JSON is nested deeper than {MAX_DEPTH}{place}")
    return found


def _checked_integers(data: bytes, found: Outside | None) -> Steps[None]:
    found = found or (yield from _outside(data, MAX_CONTAINERS))
    if (yield from holds_out_of_range(found.numbers)):
        place = yield from _place(data, _is_out_of_range)
        raise BoundsError(f"{_OUT_OF_RANGE_MESSAGE}{place}")


def _is_too_deep(member: bytes) -> Steps[bool]:
    found = yield from _outside(member, MAX_CONTAINERS)
    return _exceeds(found.brackets, MAX_DEPTH - 1)


def _is_out_of_range(member: bytes) -> Steps[bool]:
    found = yield from _outside(member, MAX_CONTAINERS)
    return (yield from holds_out_of_range(found.numbers))


def _exceeds(brackets: bytes, most: int) -> bool:
    """Say whether brackets are nested deeper. Most of them are pairs that lie side by side."""
    left = brackets
    for _ in range(_FLAT_PASSES):
        left = left.replace(b"{}", b"").replace(b"[]", b"")
    # Each replacement takes away one level at most.
    return len(left) + 2 * _FLAT_PASSES > most and _depth(brackets) > most


def _place(data: bytes, exceeds: Callable[[bytes], Steps[bool]]) -> Steps[str]:
    """Say which field of the outermost object exceeds a bound, as msgspec does; or nothing."""
    try:
        members = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return ""
    for name, member in islice(members.items(), _MEMBERS):
        if (yield from exceeds(bytes(member))):
            return f" - at `$.{name}`"
    return ""


def _depth(brackets: bytes) -> int:
    """Return the greatest depth after any bracket; closing ones count as minus one."""
    return max(accumulate(map(_STEPS.__getitem__, brackets)), default=0)

"""Conditions and expressions in CEL, with a bound on their cost. Pure, and never raising."""

from typing import Any, cast

import cel
import msgspec

from actors.workflow.core.cel_cost import CelShape, shape, too_costly
from actors.workflow.core.paths import ROOTS, Readable
from actors.workflow.core.rules import Verdict
from schemas.bounds import BoundsError, check_value
from schemas.problems import Problem

NAMES = ROOTS | {"event"}

FUNCTIONS = frozenset(
    {
        *("bool", "bytes", "double", "duration", "dyn", "int", "string", "timestamp", "type"),
        *("contains", "endsWith", "has", "matches", "size", "startsWith", "uint"),
        *("getDate", "getDayOfMonth", "getDayOfWeek", "getDayOfYear", "getFullYear", "getMonth"),
        *("getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    }
)
"""What an expression may call, besides the macros; all take time linear in what they are given."""

_REFUSED = (RuntimeError, ValueError, TypeError, LookupError, ArithmeticError, MemoryError)
_WORDS: dict[type[Exception], str] = {
    KeyError: "a field is not there",
    IndexError: "an element is not there",
    TypeError: "the types of its values do not fit",
    ZeroDivisionError: "it divides by zero",
    OverflowError: "a number is out of range",
}


class Condition:
    """An expression that is compiled. ``fault`` says why it cannot be: then it never holds."""

    __slots__ = ("_program", "_shape", "fault", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self._shape = shape(source)
        self.fault = self._shape.fault
        self._program = None if self.fault else _compiled(source)
        if self.fault is None:
            self.fault = _fault(self._program, self._shape)

    def value(self, token: Readable, event: Any = None) -> Any:
        """Return what it gives, as JSON has it, or a ``Problem``."""
        if self.fault is not None or self._program is None:
            return self._problem(self.fault or "")
        values = _values(self._shape, token, event)
        reason = too_costly(self._shape, values)
        if reason is not None:
            return self._problem(reason)
        try:
            result = msgspec.to_builtins(self._program.execute(values))
            check_value(result)
        except BoundsError:
            return self._problem("its value is not one of JSON, or too large")
        except _REFUSED as error:
            return self._problem(_WORDS.get(type(error), "it cannot be evaluated"))
        return result

    def holds(self, token: Readable, event: Any = None) -> bool:
        """Say whether it gives true; what cannot be evaluated does not."""
        return self.value(token, event) is True

    def verdict(self, token: Readable, event: Any = None) -> Verdict:
        """Tell whether it holds, and why not."""
        value = self.value(token, event)
        if isinstance(value, Problem):
            told = value.message
        else:
            told = f"{self.source} gives {'true' if value is True else 'no true'}"
        return Verdict(rule="condition", passed=value is True, explanation=told)

    def _problem(self, reason: str) -> Problem:
        return Problem(code="validation", message=f"{self.source}: {reason}")


def _compiled(source: str) -> cel.Program | None:
    try:
        return cel.compile(source)
    except _REFUSED:
        return None


def _fault(program: cel.Program | None, found: CelShape) -> str | None:
    if program is None:
        return "it is no expression of CEL"
    unknown = sorted(found.fields.keys() - NAMES)
    if unknown:
        return f"{unknown[0]} is not known; there are {', '.join(sorted(NAMES))}"
    called = {each for each in program.functions() if not each.startswith(("_", "@", "-", "!"))}
    if called - FUNCTIONS:
        return f"there is no function {min(called - FUNCTIONS)}"
    return None


def _values(found: CelShape, token: Readable, event: Any) -> dict[str, Any]:
    """Return only what the expression reads, since each value is converted for it."""
    values: dict[str, Any] = {}
    for name, fields in found.fields.items():
        value = event if name == "event" else getattr(token, name)
        if fields is not None and isinstance(value, dict):
            held = cast("dict[str, Any]", value)
            value = {each: held[each] for each in fields if each in held}
        if name == "counters":
            value = dict.fromkeys(fields or (), 0) | value
        values[name] = value
    return values

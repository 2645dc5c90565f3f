"""Whether a JSON value is what a JSON Schema describes. Pure, and bounded in work and depth.

Draft 2020-12 (https://json-schema.org/draft/2020-12), all its assertions but these, which say
nothing, as the standard has it for keywords that are not known: ``pattern`` and
``patternProperties``, because a pattern may take for ever, ``format``, ``unevaluated…`` and
``$dynamicRef``. ``$ref`` leads to places in the same document. ``schemas.schema_faults`` says
whether a schema is one; what is malformed in one says nothing here.

A fault names its place in the value and what is wanted. It quotes only the schema, never the value:
that may be what a model has written.
"""

from collections.abc import Callable, Hashable, Mapping
from typing import Any, NamedTuple, cast
from urllib.parse import unquote

from schemas.json_keywords import MAX_SHOWN, PLAIN, Told, key_of, kind_of, missing, shown
from schemas.steps import Steps

MAX_CHECKS = 200_000
"""Units of work of one check, most of them a pair of a schema and a value: some 0.3 s."""

MAX_NESTED = 256
"""How deep schemas lie in each other: a value of 64 levels with four schemas at each."""

PAUSE_EACH = 500
"""Units between two pauses: about a millisecond."""

NAMES_EACH = 16
"""Members of a value or schema that are looked through in one unit."""

CHARACTERS_EACH = 1024
"""Characters that are compared in one unit."""

FAULT_COSTS = 10
"""Units of a fault whose words need not be told: an alternative may fit yet."""

MAX_ALTERNATIVES = 3
"""Alternatives of which it is told why they do not fit."""

Schema = Mapping[str, Any] | bool


class Fault(NamedTuple):
    """What is wrong, and where: the dotted path within the value, empty for the whole."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'the value'}: {self.message}"


class UnverifiableError(Exception):
    """A value was not checked to its end: the schema asks for too much, or refers to nothing."""


def faults(
    schema: Schema, value: Any, *, most: int = 10, checks: int = MAX_CHECKS, foreign: bool = False
) -> Steps[list[Fault]]:
    """Return the faults of a value, at most ``most``; none if the schema accepts it.

    ``foreign``: paths name members that the schema does not know; else these are ``*``.

    Raises:
        UnverifiableError: there are more than ``checks`` units of work, or a reference leads
            nowhere.
    """
    return (yield from SchemaCheck(schema, checks, foreign=foreign).faults(schema, value, most))


def fault(
    schema: Schema, value: Any, *, checks: int = MAX_CHECKS, foreign: bool = False
) -> Steps[Fault | None]:
    """Return the first fault of a value, None if there is none. Raises as ``faults``."""
    found = yield from faults(schema, value, most=1, checks=checks, foreign=foreign)
    return found[0] if found else None


class _Found(NamedTuple):
    faults: list[Fault]
    most: int

    def is_full(self) -> bool:
        return len(self.faults) >= self.most

    def add(self, path: str, message: str) -> None:
        if not self.is_full():
            self.faults.append(Fault(path, message))


class _Place(NamedTuple):
    """A value, where it lies, how many schemas lead there, and where its faults go."""

    value: Any
    path: str
    depth: int
    found: _Found

    def same(self, found: _Found | None = None) -> "_Place":
        """Return the place for one more schema at it."""
        return self._replace(depth=self.depth + 1, found=found or self.found)

    def member(self, name: object, value: Any) -> "_Place":
        return _Place(value, self.at(name), self.depth + 1, self.found)

    def add_all(self, told: Told) -> None:
        for name, message in told:
            self.found.add(self.at(name) if name else self.path, message)

    def at(self, name: object) -> str:
        return f"{self.path}.{name}" if self.path else str(name)


class SchemaCheck:
    """Checks values against parts of one document, with a bound on all its work together."""

    def __init__(self, root: Schema, most: int, *, foreign: bool) -> None:
        self._root = root
        self._left = most
        self._foreign = foreign
        self._choices: dict[int, frozenset[Hashable]] = {}

    def faults(self, schema: Any, value: Any, most: int) -> Steps[list[Fault]]:
        """Return the faults of a value. Raises ``UnverifiableError``."""
        found = _Found([], most)
        yield from self.walk(schema, _Place(value, "", 0, found))
        return found.faults

    def walk(self, schema: Any, place: _Place) -> Steps[None]:
        """Add the faults at a place and below."""
        if place.depth > MAX_NESTED:
            raise UnverifiableError("schemas lie too deep in each other")
        yield from self._count(1 + _size(schema))
        if schema is False:
            place.found.add(place.path, "is not allowed")
        if not isinstance(schema, dict):
            return
        known = cast("dict[str, Any]", schema)
        kind = kind_of(place.value)
        for keyword, wanted in known.items():
            plain, deep = PLAIN.get(keyword), _DEEP.get(keyword)
            if plain is not None and plain.is_for(kind, wanted):
                yield from self._count(_size(wanted))
                place.add_all(plain.faults(place.value, wanted))
            elif deep is not None and deep.is_for(kind, wanted):
                yield from self._count(_size(wanted) + _size(place.value))
                yield from deep.check(self, known, wanted, place)
            if place.found.is_full():
                return

    def _count(self, units: int) -> Steps[None]:
        before = self._left
        self._left -= units
        if self._left < 0:
            raise UnverifiableError("the schema asks for too many checks")
        if before // PAUSE_EACH != self._left // PAUSE_EACH:
            yield

    def _fault(self, schema: Any, place: _Place) -> Steps[Fault | None]:
        """Return the first fault of one schema at a place, which need not be one of the value."""
        found = _Found([], 1)
        yield from self.walk(schema, place.same(found))
        yield from self._count(FAULT_COSTS if found.faults else 0)
        return found.faults[0] if found.faults else None

    # Keywords; each is called with its schema, what it is set to, and the place.

    def every(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``allOf``."""
        for one in wanted:
            yield from self.walk(one, place.same())

    def reference(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``$ref``."""
        yield from self.walk(referred(self._root, wanted), place.same())

    def some(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``anyOf``."""
        reasons: list[Fault] = []
        for one in wanted:
            found = yield from self._fault(one, place)
            if found is None:
                return
            reasons = [*reasons, found][:MAX_ALTERNATIVES]
        place.found.add(place.path, _no_alternative("anyOf", place, reasons))

    def one(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``oneOf``."""
        reasons: list[Fault] = []
        fitting = 0
        for one in wanted:
            found = yield from self._fault(one, place)
            fitting += found is None
            reasons = [*reasons, found][:MAX_ALTERNATIVES] if found else reasons
        if fitting > 1:
            place.found.add(place.path, "must fit one alternative of oneOf, not several")
        elif not fitting:
            place.found.add(place.path, _no_alternative("oneOf", place, reasons))

    def none(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``not``."""
        if (yield from self._fault(wanted, place)) is None:
            place.found.add(place.path, "must be other than what not describes")

    def condition(self, schema: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``if`` with its ``then`` and ``else``."""
        name = "else" if (yield from self._fault(wanted, place)) else "then"
        yield from self.walk(schema.get(name, True), place.same())

    def choices(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``enum``. The keys of the choices are made once."""
        if id(wanted) not in self._choices:
            keys: set[Hashable] = set()
            for one in wanted:
                keys.add((yield from self._key(one)))
            self._choices[id(wanted)] = frozenset(keys)
        if (yield from self._key(place.value)) not in self._choices[id(wanted)]:
            place.found.add(place.path, f"must be one of {shown(wanted)}")

    def constant(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``const``."""
        own, other = (yield from self._key(place.value)), (yield from self._key(wanted))
        if own != other:
            place.found.add(place.path, f"must be {shown([wanted])}")

    def unique(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``uniqueItems``."""
        keys: set[Hashable] = set()
        for position, item in enumerate(place.value if wanted else ()):
            key = yield from self._key(item)
            if key in keys:
                place.found.add(place.at(position), "must differ from all items before it")
            keys.add(key)

    def _key(self, value: Any) -> Steps[Hashable]:
        return (yield from key_of(value, self._count))

    def properties(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """Members that are known."""
        for name, member in place.value.items():
            if name in wanted:
                yield from self.walk(wanted[name], place.member(name, member))

    def others(self, schema: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``additionalProperties``; which these are is not known beside patterns."""
        if "patternProperties" in schema:
            return
        listed = schema.get("properties")
        known = cast("dict[str, Any]", listed) if isinstance(listed, dict) else {}
        for name, member in place.value.items():
            if name in known:
                continue
            if wanted is False:
                message = f"is not allowed; allowed: {shown(known) or 'nothing'}"
                place.found.add(place.at(self._told(name)), message)
                if not self._foreign:
                    return
            else:
                yield from self.walk(wanted, place.member(self._told(name), member))

    def names(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``propertyNames``."""
        for name in place.value:
            yield from self.walk(wanted, place.member(self._told(name), name))

    def _told(self, name: str) -> str:
        return name[:64] if self._foreign else "*"

    def dependents(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``dependentSchemas``."""
        for name, schema in wanted.items():
            if name in place.value:
                yield from self.walk(schema, place.same())

    def needs(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``dependentRequired``."""
        for name, needed in wanted.items():
            if name in place.value and isinstance(needed, list):
                yield from self._count(_size(needed))
                place.add_all(missing(place.value, cast("list[Any]", needed)))

    def items(self, schema: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """Items after those that ``prefixItems`` describes."""
        first = schema.get("prefixItems")
        begin = len(cast("list[Any]", first)) if isinstance(first, list) else 0
        for position, item in enumerate(place.value[begin:], begin):
            yield from self.walk(wanted, place.member(position, item))

    def prefix(self, _: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``prefixItems``."""
        for position, (schema, item) in enumerate(zip(wanted, place.value, strict=False)):
            yield from self.walk(schema, place.member(position, item))

    def contains(self, schema: Mapping[str, Any], wanted: Any, place: _Place) -> Steps[None]:
        """``contains`` with its bounds."""
        fitting = 0
        for item in place.value:
            fitting += (yield from self._fault(wanted, place._replace(value=item))) is None
        least, most = schema.get("minContains", 1), schema.get("maxContains", fitting)
        if not _is_within(fitting, least, most):
            place.found.add(place.path, "must have another number of items that contains describes")


def referred(document: Any, reference: str) -> Any:
    """Return what a reference such as ``#/$defs/name`` leads to.

    Raises:
        UnverifiableError: that is no place in the document.
    """
    if reference != "#" and not reference.startswith("#/"):
        raise UnverifiableError("a reference must lead into the schema itself, as #/$defs/name")
    found: Any = document
    for part in unquote(reference).split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        try:
            found = found[int(name) if isinstance(found, list) else name]
        except (LookupError, TypeError, ValueError):
            raise UnverifiableError("a reference leads to what the schema does not hold") from None
    return found


def _is_within(number: int, least: Any, most: Any) -> bool:
    bounds = (one if isinstance(one, int | float) else number for one in (least, most))
    return next(bounds) <= number <= next(bounds)


def _size(value: Any) -> int:
    """Return the units that it takes to look through a value, or to compare a text."""
    if isinstance(value, dict | list):
        return len(cast("list[Any]", value)) // NAMES_EACH
    return len(value) // CHARACTERS_EACH if isinstance(value, str) else 0


def _no_alternative(keyword: str, place: _Place, reasons: list[Fault]) -> str:
    prefix = f"{place.path}." if place.path else ""
    each = (
        one.message if one.path == place.path else f"{one.path.removeprefix(prefix)} {one.message}"
        for one in reasons
    )
    reasons_text = "; or ".join(each)[:MAX_SHOWN] or "there is none"
    return f"fits no alternative of {keyword}: {reasons_text}"


class _Deep(NamedTuple):
    """A keyword that needs other schemas, or work in proportion to the value."""

    kind: str
    takes: tuple[type, ...]
    check: Callable[[SchemaCheck, Mapping[str, Any], Any, _Place], Steps[None]]

    def is_for(self, kind: str, wanted: Any) -> bool:
        return self.kind in ("", kind) and isinstance(wanted, self.takes)


_ONE, _ANY = (dict, bool), (object,)

_DEEP: Mapping[str, _Deep] = {
    "$ref": _Deep("", (str,), SchemaCheck.reference),
    "allOf": _Deep("", (list,), SchemaCheck.every),
    "anyOf": _Deep("", (list,), SchemaCheck.some),
    "oneOf": _Deep("", (list,), SchemaCheck.one),
    "not": _Deep("", _ONE, SchemaCheck.none),
    "if": _Deep("", _ONE, SchemaCheck.condition),
    "enum": _Deep("", (list,), SchemaCheck.choices),
    "const": _Deep("", _ANY, SchemaCheck.constant),
    "properties": _Deep("object", (dict,), SchemaCheck.properties),
    "additionalProperties": _Deep("object", _ONE, SchemaCheck.others),
    "propertyNames": _Deep("object", _ONE, SchemaCheck.names),
    "dependentRequired": _Deep("object", (dict,), SchemaCheck.needs),
    "dependentSchemas": _Deep("object", (dict,), SchemaCheck.dependents),
    "items": _Deep("array", _ONE, SchemaCheck.items),
    "prefixItems": _Deep("array", (list,), SchemaCheck.prefix),
    "contains": _Deep("array", _ONE, SchemaCheck.contains),
    "uniqueItems": _Deep("array", (bool,), SchemaCheck.unique),
}

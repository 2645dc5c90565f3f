"""What a CEL expression can cost at most, from its tokens and the sizes of the values it reads.

The evaluator knows no limit of its own, so this bound is what stops an expression that would take
long. Values are converted for it one by one. Macros (``all``, ``map`` ...) take a round for each
element, and multiply where one lies in another; those that build a list copy with each element what
they have built so far. Lists grow where two are added, and by as many uses as a bound name has in
the body of a macro. The bound is above the truth, never below.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

MOST_COST = 40_000
"""About microseconds."""

MOST_MACROS = 16
MOST_DEPTH = 3
MOST_BRACKETS = 24
MOST_PARTS = 400
"""Tokens of an expression, which is parsed in quadratic time."""

MOST_GROWTH = 64
MOST_MADE = 65_536
MOST_PATTERN = 200

UNIT_CHARACTERS = 64
"""A value counts as one unit, and a text as one more for so many characters."""

_OF_UNIT, _OF_ROUND, _OF_MATCH = 4, 5, 100
MOST_READ = MOST_COST // _OF_UNIT
"""Units of all that an expression reads."""

_PARTS_EACH = 20
_BUILDS_NOTHING = frozenset({"all", "exists", "exists_one", "existsOne"})

_TOKEN = re.compile(
    r"(?P<space>\s+|//[^\n]*)"
    r"|(?P<text>[rR]?\"(?:[^\"\\\n]|\\.)*\"|[rR]?'(?:[^'\\\n]|\\.)*')"
    r"|(?P<number>\d[\w.]*(?:(?<=[eE])[+-]\d+)?|\.\d+)"
    r"|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||[<>=!]=|[-+*/%<>!?:.,()\[\]{}])"
)
_RAW_QUOTE = re.compile(r"[rR][\"'].*\\[\"']", re.DOTALL)
_OPEN, _CLOSED = "([{", ")]}"


@dataclass(slots=True)
class _Macro:
    """A macro: the name it binds, how often its body uses bound names, and whether others."""

    name: str
    uses: int = 0
    reads: bool = False

    @property
    def builds(self) -> bool:
        """Say whether it makes a list; what is no macro that is known does too."""
        return self.name not in _BUILDS_NOTHING

    @property
    def grows(self) -> bool:
        """Say whether the elements of its list may be larger than those it is given."""
        return self.builds and self.name != "filter"


@dataclass(slots=True)
class CelShape:
    """What a bound needs to know of an expression. ``fault`` says why it is refused unread."""

    fault: str | None = None
    fields: dict[str, set[str] | None] = field(default_factory=dict[str, set[str] | None])
    """The names that it reads; of data and metadata their fields, None for all of them."""
    inner: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])
    """Of these what is read within macros, each as often as it stands there."""
    macros: list[_Macro] = field(default_factory=list[_Macro])
    depth: int = 0
    longest: int = 0
    plus_outside: int = 0
    plus_inside: int = 0
    matches: int = 0
    length: int = 0

    @property
    def growth(self) -> int:
        """Return by how much elements can grow in all macros together."""
        product = 1
        for macro in self.macros:
            product = min(product * (max(1, macro.uses) if macro.grows else 1), 1 << 40)
        return product

    def cost(self, longest: int, units: int, inner: int) -> int:
        """Return what it costs at most over values of so many units, with lists of this length.

        ``inner`` are the units of what is read within macros: each round may go through them.
        """
        if not self.macros:
            return units * _OF_UNIT + self.matches * _OF_MATCH
        made = self.made(longest, units)
        longest = max(1, (longest + self.longest) * (1 + self.plus_outside))
        if len(self.macros) > 1 and self.plus_inside:
            longest *= self.growth * (1 + self.plus_inside)
        each = _OF_ROUND + self.matches * _OF_MATCH + self.length // _PARTS_EACH
        copied = sum(macro.builds for macro in self.macros) * made // 2
        uses = sum(macro.uses for macro in self.macros)
        return (
            units * _OF_UNIT
            + longest**self.depth * (len(self.macros) * each + copied + inner)
            + longest ** (self.depth - 1) * units * uses
        )

    def made(self, longest: int, units: int) -> int:
        """Return how many units its values can have, where it reads so many."""
        grown = (units + self.length) * (1 + self.plus_outside + self.plus_inside) * self.growth
        copying = sum(macro.reads and macro.grows for macro in self.macros)
        return grown * max(1, longest + self.longest) ** copying


def shape(source: str) -> CelShape:
    """Look at an expression. What no rule of the grammar above covers is refused."""
    found = CelShape()
    tokens = list(_tokens(source))
    if not all(tokens):
        found.fault = "it holds what is no token of an expression"
    elif any(kind == "text" and _is_doubtful(text) for kind, text in tokens):
        found.fault = "raw texts with quotes in them are not read"
    elif len(tokens) > MOST_PARTS:
        found.fault = f"it has more than {MOST_PARTS} tokens"
    else:
        _Look(found, tokens).look()
    return found


def size_of(value: Any, most: int = MOST_READ) -> tuple[int, int]:
    """Return the length of the longest list or object in a value, and how many units it has.

    What has more than ``most`` is not looked at to its end.
    """
    longest = units = 0
    pending = [value]
    while pending and units <= most:
        each = pending.pop()
        units += 1
        if isinstance(each, str):
            units += len(each) // UNIT_CHARACTERS
        elif isinstance(each, list | dict):
            inside = cast("list[Any] | dict[str, Any]", each)
            longest = max(longest, len(inside))
            pending.extend(inside.values() if isinstance(inside, dict) else inside)
    return longest, units


def too_costly(found: CelShape, values: Mapping[str, Any]) -> str | None:
    """Say why an expression must not be evaluated over these values; None if it may."""
    longest, units = size_of(dict(values))
    if units > MOST_READ:
        return "it reads too large a value"
    if found.made(longest, units) > MOST_MADE:
        return "it would build too large a value"
    inner = sum(size_of(_read(values, *each))[1] for each in found.inner)
    if found.cost(longest, units, inner) > MOST_COST:
        return "it would take too long over lists of this length"
    return None


def _read(values: Mapping[str, Any], name: str, field_name: str | None) -> Any:
    value = values.get(name)
    if field_name is None or not isinstance(value, dict):
        return value
    return cast("dict[str, Any]", value).get(field_name)


def _tokens(source: str) -> Iterator[tuple[str, str]]:
    """Yield kind and text of each token; an empty pair is none."""
    at = 0
    while at < len(source):
        match = _TOKEN.match(source, at)
        if match is None:
            yield cast("tuple[str, str]", ())
            return
        at = match.end()
        if match.lastgroup != "space":
            yield str(match.lastgroup), match.group()


def _is_doubtful(text: str) -> bool:
    """Say whether the evaluator might see another end of a text than we do."""
    return _RAW_QUOTE.match(text) is not None


class _Look:
    """Walks the tokens once, with the brackets that are open."""

    def __init__(self, found: CelShape, tokens: list[tuple[str, str]]) -> None:
        self._found = found
        self._tokens = tokens
        self._open: list[_Macro | None] = []
        self._commas: list[int] = []
        self._bound: set[str] = set()

    def look(self) -> None:
        found = self._found
        found.length = len(self._tokens)
        self._bound = {self._text(at + 3) for at in range(found.length) if self._is_macro(at)}
        for at, (kind, text) in enumerate(self._tokens):
            if kind == "name":
                self._name(at, text)
            elif kind == "sign":
                self._sign(at, text)
            elif kind == "text" and self._kind(at + 1) == "text":
                found.fault = "two texts follow each other"
        if found.fault is None:
            found.fault = self._verdict()

    def _verdict(self) -> str | None:
        found = self._found
        if len(found.macros) > MOST_MACROS or found.depth > MOST_DEPTH:
            return f"it has more than {MOST_MACROS} macros, or more than {MOST_DEPTH} in each other"
        if found.growth > MOST_GROWTH:
            return "its macros would build a value that grows too fast"
        return None if found.cost(0, 0, 0) <= MOST_COST else "it would take too long"

    def _text(self, at: int) -> str:
        return self._tokens[at][1] if 0 <= at < len(self._tokens) else ""

    def _kind(self, at: int) -> str:
        return self._tokens[at][0] if 0 <= at < len(self._tokens) else ""

    def _is_macro(self, at: int) -> bool:
        """Say whether ``.name(bound,`` begins at a dot; all that looks so counts as one."""
        return (
            self._text(at) == "."
            and self._kind(at + 1) == "name"
            and self._text(at + 2) == "("
            and self._kind(at + 3) == "name"
            and self._text(at + 4) == ","
        )

    def _name(self, at: int, text: str) -> None:
        if self._text(at - 1) == "." or self._text(at + 1) == "(":
            self._call(at, text)
        elif text in self._bound:
            for macro in self._open:
                if macro is not None:
                    macro.uses += self._text(at + 1) != "," or self._text(at - 1) != "("
        elif text not in {"true", "false", "null", "in"}:
            self._read(at, text)

    def _call(self, at: int, text: str) -> None:
        if text == "matches":
            self._found.matches += 1
            pattern = self._text(at + 2)
            is_plain = self._kind(at + 2) == "text" and self._text(at + 3) == ")"
            if not is_plain or "{" in pattern or len(pattern) > MOST_PATTERN:
                self._found.fault = (
                    f"matches takes a pattern of up to {MOST_PATTERN} characters in quotes,"
                    " without counted repetition"
                )

    def _read(self, at: int, text: str) -> None:
        for macro in self._open:
            if macro is not None:
                macro.reads = True
        fields = self._found.fields
        is_field = self._text(at + 1) == "." and self._text(at + 3) != "("
        if any(self._open):
            self._found.inner.append((text, self._text(at + 2) if is_field else None))
        known = fields.get(text, set())
        fields[text] = known | {self._text(at + 2)} if is_field and known is not None else None

    def _sign(self, at: int, text: str) -> None:
        if text in _OPEN:
            macro = _Macro(self._text(at - 1))
            is_macro = self._is_macro(at - 2)
            self._open.append(macro if is_macro else None)
            self._commas.append(0)
            if is_macro:
                self._found.macros.append(macro)
            self._found.depth = max(self._found.depth, len(self._open) - self._open.count(None))
            if len(self._open) > MOST_BRACKETS:
                self._found.fault = f"brackets are nested deeper than {MOST_BRACKETS}"
        elif text in _CLOSED and self._open:
            self._open.pop()
            commas = self._commas.pop()
            if text != ")":
                self._found.longest = max(self._found.longest, commas + 1)
        elif text == "," and self._commas:
            self._commas[-1] += 1
        elif text == "+":
            inside = len(self._open) > self._open.count(None)
            self._found.plus_inside += inside
            self._found.plus_outside += not inside

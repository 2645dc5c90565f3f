"""What a CEL expression can cost at most, from its tokens and the sizes of the values it reads.

The evaluator knows no limit of its own, so this bound is what stops an expression that would take
long. Time goes into macros (``map``, ``filter``, ``all`` ...): one that lies in another multiplies
with it. Memory goes into what they build, and into ``+``. Both bounds are above the truth: lists
can only grow where two are added, by as many uses as a bound name has in the body of a macro.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

MOST_STEPS = 2_000
"""Rounds of macros: each takes some 20 microseconds."""

MOST_MACROS = 16
MOST_DEPTH = 3
MOST_BRACKETS = 24
MOST_OPERATIONS = 400
"""Tokens of an expression, which is parsed in quadratic time."""

MOST_GROWTH = 64
MOST_MADE_BYTES = 4 * 1024 * 1024
MOST_PATTERN = 200
_ROUNDS_OF_MATCH = 20
"""A pattern is compiled anew each time; so many rounds it counts for."""

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

    at: int
    builds: bool
    uses: int = 0
    reads: bool = False


@dataclass(slots=True)
class CelShape:
    """What a bound needs to know of an expression. ``fault`` says why it is refused unread."""

    fault: str | None = None
    fields: dict[str, set[str] | None] = field(default_factory=dict[str, set[str] | None])
    """The names that it reads; of data and metadata their fields, None for all of them."""
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
            product = min(product * (max(1, macro.uses) if macro.builds else 1), 1 << 40)
        return product

    def steps(self, longest: int) -> int:
        """Return how many rounds all macros can take, where no list read is longer than this."""
        if not self.macros:
            return self.matches * _ROUNDS_OF_MATCH
        longest = (longest + self.longest) * (1 + self.plus_outside)
        if len(self.macros) > 1 and self.plus_inside:
            longest *= self.growth * (1 + self.plus_inside)
        each = 1 + self.matches * _ROUNDS_OF_MATCH + self.length // 100
        return len(self.macros) * max(1, longest) ** self.depth * each

    def made(self, longest: int, size: int) -> int:
        """Return how many bytes its values can have, where it reads ``size`` bytes."""
        size = (size + self.length) * (1 + self.plus_outside + self.plus_inside) * self.growth
        copying = sum(macro.reads and macro.builds for macro in self.macros)
        return size * max(1, longest + self.longest) ** copying


def shape(source: str) -> CelShape:
    """Look at an expression. What no rule of the grammar above covers is refused."""
    found = CelShape()
    tokens = list(_tokens(source))
    if not all(tokens):
        found.fault = "it holds what is no token of an expression"
    elif any(kind == "text" and _is_doubtful(text) for kind, text in tokens):
        found.fault = "texts in three quotes, and raw ones with quotes in them, are not read"
    elif len(tokens) > MOST_OPERATIONS:
        found.fault = f"it has more than {MOST_OPERATIONS} tokens"
    else:
        _Look(found, tokens).look()
    return found


def size_of(value: Any, most: int) -> tuple[int, int]:
    """Return the length of the longest list or object in a value, and about how many bytes it has.

    What is larger than ``most`` is not looked at to its end.
    """
    longest = size = 0
    pending = [value]
    while pending and size <= most:
        each = pending.pop()
        size += 8
        if isinstance(each, str):
            size += len(each)
        elif isinstance(each, list | dict):
            inside = cast("list[Any] | dict[str, Any]", each)
            longest = max(longest, len(inside))
            if isinstance(inside, dict):
                size += sum(map(len, inside))
                pending.extend(inside.values())
            else:
                pending.extend(inside)
    return longest, size


def too_costly(found: CelShape, values: Mapping[str, Any]) -> str | None:
    """Say why an expression must not be evaluated over these values; None if it may."""
    if not found.macros and not found.plus_outside and not found.matches:
        return None
    longest, size = size_of(dict(values), MOST_MADE_BYTES)
    if found.steps(longest) > MOST_STEPS:
        return "it would take too many steps over lists of this length"
    if found.made(longest, size) > MOST_MADE_BYTES:
        return "it would build too large a value"
    return None


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
        return None if found.steps(0) <= MOST_STEPS else "it would take too many steps"

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
        known = fields.get(text, set())
        fields[text] = known | {self._text(at + 2)} if is_field and known is not None else None

    def _sign(self, at: int, text: str) -> None:
        if text in _OPEN:
            macro = _Macro(at, self._text(at - 1) not in {"all", "exists", "filter"})
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
            self._found.longest = max(self._found.longest, self._commas.pop() + 1)
        elif text == "," and self._commas:
            self._commas[-1] += 1
        elif text == "+":
            inside = len(self._open) > self._open.count(None)
            self._found.plus_inside += inside
            self._found.plus_outside += not inside

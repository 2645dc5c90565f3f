"""Replies as people read them: a list is a table, all else its fields by name."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

import msgspec

from actors.cli import rendering
from actors.cli.fields import MONEY
from actors.cli.views import for_people
from bus.errors import problem
from schemas.base import Value

PICO = Decimal(10) ** 12
AMOUNTS = frozenset({"cost", "cost_at_end"})
"""Fields in pico-dollars whose names do not say so."""

SHORT = 60
"""Characters of a text that stands in a row beside others."""

PAGE = ("total", "limit", "offset")
"""What a page says of itself; of these only how many there are in all is shown."""


class StoredReplyView(Value):
    """The receipt of a submitted command."""

    subject: str
    sequence: int


def show(replies: Sequence[Any], *, as_json: bool = False, only: str | None = None) -> None:
    """Print replies: as JSON, one field of them, or for people. Several are rows of a table."""
    if as_json or only:
        for one in replies:
            rendering.json(one) if only is None else _field(one, only)
    elif len(replies) == 1:
        _record(for_people(replies[0]))
    elif replies:
        _several(replies)


def _field(reply: Any, path: str) -> None:
    """Print the value at a dotted path.

    Raises:
        ProblemError: ``not_found``: the reply has no such field.
    """
    value = msgspec.to_builtins(reply)
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            raise problem("not_found", f"the reply has no field {path}", field="only")
        value = cast("Any", value[name])
    if isinstance(value, str):
        rendering.line(value)
    else:
        rendering.json(value)


def _record(reply: Any) -> None:
    cells = dict(flat(reply))
    lists = {name: value for name, value in cells.items() if _are_structs(value)}
    total = cells.get("total")
    page = PAGE if isinstance(total, int) else ()
    plain = {
        name: value
        for name, value in cells.items()
        if name not in lists and name not in page and not _is_empty(value)
    }
    width = max(map(len, map(_title, plain)), default=0)
    for name, value in plain.items():
        rendering.line(f"{_title(name):<{width}}  {_text(name, value)}")
    for name, value in lists.items():
        if len(lists) > 1 or plain:
            rendering.line(f"\n{_title(name)}")
        _table(value, total=total if isinstance(total, int) else None)
    if not plain and not lists:
        rendering.line("none")


def _several(replies: Sequence[Any]) -> None:
    """Print a row for each, with what it has itself; with what is in it where it has nothing."""
    rows = [
        {name: one for name, one, _ in _fields(reply) if "." not in name and _is_short(one)}
        for reply in replies
    ]
    names = [name for name in rows[0] if any(row.get(name) is not None for row in rows)]
    if names:
        cells = ([_text(name, row.get(name)) for name in names] for row in rows)
        rendering.table([_title(name) for name in names], cells)
    else:
        _table(replies)


def _table(values: Sequence[Any], *, total: int | None = None) -> None:
    rows = [row for value in values for row in unfolded(value)]
    names = list(dict.fromkeys(name for row in rows for name in row))
    kept = [name for name in names if not all(_is_usual(row.get(name)) for row in rows)]
    cells = ([_text(name, row[name][0]) if name in row else None for name in kept] for row in rows)
    rendering.table([_title(name) for name in kept], cells, total=total)


Cell = tuple[Any, bool]
"""A value, and whether it is the usual one of its field."""


def flat(value: msgspec.Struct, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of a Struct and of those in it, by dotted name. Pure."""
    for name in value.__struct_fields__:
        inner = getattr(value, name)
        if isinstance(inner, msgspec.Struct):
            yield from flat(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", inner


def unfolded(value: msgspec.Struct) -> Iterator[dict[str, Cell]]:
    """Yield the rows of a Struct: one, or one for each member of the only list in it. Pure.

    Fields are named without what they stand in, as far as that tells them apart.
    """
    cells: dict[str, Cell] = {}
    members: list[tuple[str, list[Any]]] = []
    for name, inner, is_usual in _fields(value):
        if _are_structs(inner):
            members.append((name, inner))
        else:
            short = name.rpartition(".")[2]
            cells[name if short in cells else short] = inner, is_usual
    if len(members) != 1:
        yield cells
        return
    stands_in, inners = members[0]
    for member in inners:
        row = dict(cells)
        for name, inner, is_usual in _fields(member):
            short = name.rpartition(".")[2]
            row[f"{stands_in}.{name}" if short in row else short] = inner, is_usual
        yield row


def _fields(value: msgspec.Struct) -> Iterator[tuple[str, Any, bool]]:
    for field in msgspec.structs.fields(value):
        inner = getattr(value, field.name)
        if isinstance(inner, msgspec.Struct):
            for name, each, is_usual in _fields(inner):
                yield f"{field.name}.{name}", each, is_usual
            continue
        made = field.default_factory
        usual = made() if callable(made) else field.default
        yield field.name, inner, not field.required and inner == usual


def _is_short(value: Any) -> bool:
    is_long = isinstance(value, str) and len(value) > SHORT
    return not is_long and not isinstance(value, list | dict)


def _are_structs(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    members = cast("list[Any]", value)
    return bool(members) and all(isinstance(one, msgspec.Struct) for one in members)


def _is_empty(value: Any) -> bool:
    return value is None or value is msgspec.UNSET or value in ("", [], {})


def _is_usual(cell: Cell | None) -> bool:
    return cell is None or cell[1] or _is_empty(cell[0])


def _title(name: str) -> str:
    return name.removesuffix(MONEY).replace("_", " ")


def _text(name: str, value: Any) -> Any:
    """Return a value as it is shown."""
    match value:
        case None | msgspec.UNSET:
            return ""
        case bool():
            return "yes" if value else "no"
        case int() if name.endswith(MONEY) or name.rpartition(".")[2] in AMOUNTS:
            return usd(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list() | dict() | tuple():
            return msgspec.json.encode(value).decode()
        case _:
            return value


def usd(pico: int) -> str:
    """Return pico-dollars as dollars: cents, and for less than a dollar three digits that count."""
    amount = Decimal(pico) / PICO
    if pico == 0 or abs(amount) >= 1:
        return f"${amount:,.2f}"
    places = 2 - amount.adjusted()
    return f"${amount:.{places}f}"

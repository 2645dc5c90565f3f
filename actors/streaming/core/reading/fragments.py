"""Telling which tool call a fragment belongs to: one rule for all wire formats.

Place (a wire's index of calls or blocks), id, name and the state of the arguments decide:

- "null", "none" and the like are no ids, and no names unless a tool is called so.
- A fragment without a name never begins a call while one is open, whatever its id: it goes to the
  call with its id, else to the one at its place, else to the last one that grew.
- A fragment with another name is another call, unless the names of the offered tools say that it is
  the next piece of a name.
- A fragment with the same name goes on with the call while its arguments can only be a
  continuation. Otherwise it may be the next call or the same again, and that shows only at the end:
  then it is a call of its own unless the two are one by ``_is_one``.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from actors.streaming.core.decoding import arguments
from actors.streaming.core.reading.tool_calls import GrowingCall, ToolCalls

_NO_WORDS = frozenset({"", "null", "none", "nil", "undefined"})
_NUMBER = re.compile(r"[0-9]{1,9}")

Place = int | str | None


class Fragment(NamedTuple):
    """What one fragment says of its call; ``place`` is None where the wire tells no index."""

    place: Place = None
    id: str = ""
    name: str = ""
    arguments: str = ""


def identifier(value: object) -> str:
    """Return an id as text; what stands for the lack of one is none."""
    if value is None or isinstance(value, bool):
        return ""
    text = str(value)
    return "" if text.strip().lower() in _NO_WORDS else text


def place_of(index: float | str | None) -> Place:
    """Return an index as a place: 0, 0.0 and "0" are the same one, "" and null are none."""
    if isinstance(index, str):
        text = identifier(index).strip()
        return int(text) if _NUMBER.fullmatch(text) else text or None
    if isinstance(index, float):
        return int(index) if index.is_integer() else str(index)
    return index


class CallFragments:
    """Puts the fragments of an answer to its calls. ``offered`` are the names of its tools."""

    def __init__(self, calls: ToolCalls, offered: Iterable[str] = ()) -> None:
        self._calls = calls
        self._offered = frozenset(offered)
        # By place, and for all places under None: the calls in the order in which they last grew.
        self._grown: dict[Place, list[GrowingCall]] = {None: []}
        self._early_ids: dict[Place, str] = {}
        self._doubts: list[tuple[GrowingCall, GrowingCall]] = []

    def add(self, parts: Sequence[Fragment]) -> list[GrowingCall | None]:
        """Take the fragments of one event; return the call of each, None where it has none.

        Raises:
            ProviderFaultError: more calls or longer arguments than any honest answer has.
        """
        if len(parts) == 1:
            return [self.put(parts[0])]
        beside: list[GrowingCall | None] = []
        for part in parts:
            beside.append(self.put(part, beside))
        return beside

    def goes_on(self, place: int, text: str) -> bool:
        """Take a fragment that has neither id nor name; False where its place is a new one.

        Nearly all fragments are like that, so this says in short what ``put`` does.
        """
        known = self._grown.get(place)
        if not known:
            return False
        call = known[-1]
        call.grow(text)
        if self._grown[None][-1] is not call:
            self._touch(place, call)
        return True

    def put(self, part: Fragment, beside: Sequence[GrowingCall | None] = ()) -> GrowingCall | None:
        """Take one fragment; ``beside`` are the calls of those before it in the same event."""
        call = self._whose(self._plain(part), beside)
        if call is not None:
            if part.arguments:
                call.grow(part.arguments)
            self._touch(part.place, call)
        return call

    def begin(self, part: Fragment) -> GrowingCall:
        """Take the explicit beginning of a call, on wires that have one.

        The same id and name once more may be the same call once more. Without a name it goes on
        with the call that is open at its place.
        """
        part = self._plain(part)
        known = self._grown.get(part.place) or []
        if not part.name and known and not known[-1].is_whole:
            call = known[-1]
        else:
            same = (one for one in reversed([*self._calls]) if part.id and one.id == part.id)
            call = self._new(part, next((one for one in same if one.name == part.name), None))
        if part.arguments:
            call.grow(part.arguments)
        self._touch(part.place, call)
        return call

    def settle(self) -> None:
        """Decide, at the end of the answer, which of the doubtful calls are calls of their own."""
        for earlier, later in reversed(self._doubts):
            if _is_one(earlier, later):
                earlier.absorb(later)
                self._calls.remove(later)
        self._doubts.clear()
        for call in [*self._calls]:
            # What nobody has named can only mean the one tool that there is.
            if not call.name and len(self._offered) == 1:
                (call.name,) = self._offered

    def _plain(self, part: Fragment) -> Fragment:
        """Leave out what stands for the lack of an id or a name."""
        name = part.name
        if name not in self._offered and name.strip().lower() in _NO_WORDS:
            name = ""
        return part._replace(id=identifier(part.id), name=name)

    def _touch(self, place: Place, call: GrowingCall) -> None:
        for key in (place, None):
            grown = self._grown.setdefault(key, [])
            if not grown or grown[-1] is not call:
                if call in grown:
                    grown.remove(call)
                grown.append(call)

    def _new(self, part: Fragment, doubt: GrowingCall | None = None) -> GrowingCall:
        early = self._early_ids.pop(part.place, "")
        call = self._calls.begin(part.id or early, part.name)
        if doubt is not None:
            self._doubts.append((doubt, call))
        return call

    # Without a name

    def _whose(self, part: Fragment, beside: Sequence[GrowingCall | None]) -> GrowingCall | None:
        if part.name:
            return self._named(part, beside)
        known = self._grown.get(part.place)
        call = self._of_id(part) or (known or self._grown[None] or [None])[-1]
        if not part.arguments.strip() and (call is None or known is None):
            # The head of a call whose name is still to come, or nothing at all.
            self._early_ids[part.place] = part.id
            return None
        if call is None:
            return self._new(part)
        if self._starts_alone(part, call):
            return self._new(part, call)
        call.id = call.id or part.id
        return call

    def _of_id(self, part: Fragment) -> GrowingCall | None:
        """Return the call with a fragment's id: at its place, else wherever it is."""
        if not part.id:
            return None
        pools = (self._grown.get(part.place, []), self._grown[None])
        found = (call for pool in pools for call in reversed(pool) if call.id == part.id)
        return next(found, None)

    def _starts_alone(self, part: Fragment, call: GrowingCall) -> bool:
        """Whether arguments begin anew, away from a call whose own are complete."""
        is_elsewhere = part.place not in self._grown or part.id not in {"", call.id}
        return is_elsewhere and part.arguments.lstrip()[:1] == "{" and call.is_whole

    # With a name

    def _named(self, part: Fragment, beside: Sequence[GrowingCall | None]) -> GrowingCall:
        call = self._candidate(part)
        if call is None:
            return self._new(part)
        if (name := self._joined(call, part.name)) is not None:
            call.id, call.name = call.id or part.id, name
            return call
        if part.name != call.name:
            return self._new(part)
        if _continues(call, part):
            return call
        is_doubtful = _differ(call, part.id) or part.place not in self._grown or call.is_whole
        if call in beside and (is_doubtful or _are_bare(call, part)):
            return self._new(part)
        if is_doubtful:
            return self._new(part, self._again(part, call))
        call.id = call.id or part.id
        return call

    def _again(self, part: Fragment, call: GrowingCall) -> GrowingCall | None:
        """Return the call that a fragment may repeat.

        Whole arguments without id and place repeat none: a model may roll the same dice twice.
        """
        may = part.id or part.place is not None or not part.arguments.strip()
        return call if may else None

    def _candidate(self, part: Fragment) -> GrowingCall | None:
        """Return the call at a fragment's place that it is most likely of."""
        pool = self._grown.get(part.place)
        if pool is None:
            call = self._of_id(part)
            return call if call is not None and call.name == part.name else None
        alike = (one for one in reversed(pool) if one.id and one.id == part.id)
        named = (one for one in reversed(pool) if one.name == part.name and not one.is_whole)
        return next(alike, None) or next(named, None) or (pool[-1] if pool else None)

    def _joined(self, call: GrowingCall, name: str) -> str | None:
        """Return what a call is named with another piece of its name; None if it is no piece.

        Some servers send all that has come of the name so far, once more.
        """
        if not call.name:
            return name
        if not call.is_blank or (name == call.name and name in self._offered):
            return None
        both = call.name in self._offered and name in self._offered
        if name.startswith(call.name) and name != call.name and not both and self._begins(name):
            return name
        return call.name + name if self._begins(call.name + name) and not both else None

    def _begins(self, name: str) -> bool:
        return any(one.startswith(name) for one in self._offered)


def _differ(call: GrowingCall, call_id: str) -> bool:
    return bool(call.id and call_id) and call.id != call_id


def _continues(call: GrowingCall, part: Fragment) -> bool:
    """Whether arguments can only go on where those of a call have stopped."""
    begins = part.arguments.lstrip()[:1] in {"", "{"}
    return not begins and not call.is_blank and not call.is_whole


def _are_bare(call: GrowingCall, part: Fragment) -> bool:
    """Whether two fragments of one event say a name and no more: then they are two calls."""
    return call.is_blank and not part.id and not part.arguments.strip()


def _is_one(earlier: GrowingCall, later: GrowingCall) -> bool:
    """Whether two calls of one name are one: a later one that goes on, or says the same again.

    An id of its own for each fragment proves nothing, so only what the arguments are counts.
    """
    if not later.name:
        return arguments.is_whole(arguments.settled([*earlier.pieces, *later.pieces]))
    differ = _differ(earlier, later.id)
    if earlier.is_blank:
        return not later.is_blank or not differ
    if later.is_blank:
        return not differ
    if earlier.is_whole:
        return not differ and arguments.is_same(earlier.settled, later.settled)
    return arguments.is_whole(earlier.arguments + later.arguments)

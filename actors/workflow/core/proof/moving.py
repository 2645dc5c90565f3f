"""What may happen in a net without data: from one marking to the next. Pure.

Guards and the outcomes of actions are open: whatever may hold together is tried. An action is one
step: what others do meanwhile they can as well do before or after.

``steps`` looks at a few moves where these stand for all (a persistent set, Godefroid 1996): a token
that lies where its fate depends on no other one moves first. Each end of a run, and what all runs
do in sum, is found all the same, and members of a team that work side by side take as many markings
as if they worked one after another. ``all_steps`` looks at every move.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from actors.workflow.core.proof.abstracting import Abstract, Transition, Weight, is_shared
from actors.workflow.core.proof.guarding import Verdict, may_hold, verdicts
from actors.workflow.core.proof.taking import taken_by
from actors.workflow.core.proof.tokens import (
    DECLINED,
    FAILED,
    WAITS,
    Group,
    NetState,
    Token,
    changed,
    lying,
)


class NetMove(NamedTuple):
    """One step. ``transition`` is -1 where none fires: a timeout, or a token stays for good."""

    label: str
    state: NetState
    transition: int = -1
    weight: Weight = ()
    entered: tuple[int, ...] = ()


class TokenChoice(NamedTuple):
    """What a token may do alone: fire by itself, be fired by hand, or stay."""

    fires: tuple[int, ...]
    manual: tuple[int, ...]
    stays: bool


class FiringEnd(NamedTuple):
    """How a transition may end: what it puts; ``size`` is that of a new group, -1 for none."""

    note: str
    places: tuple[int, ...]
    size: int = -1
    must_fit: bool = True


class Moves:
    """The moves of one net. ``crowded`` is how many tokens there would be, where too many."""

    def __init__(self, net: Abstract) -> None:
        self._net = net
        self._choices: dict[tuple[int, tuple[int, ...]], TokenChoice] = {}
        self._plans: dict[Token, list[tuple[NetMove, tuple[Token, ...]]] | None] = {}
        self.crowded = 0
        self._shared = [n for n, one in enumerate(net.transitions) if is_shared(one)]

    def begin(self, place: int) -> NetMove:
        """Return the marking with one token in a place."""
        token = Token(place, counters=(0,) * len(self._net.counted))
        state = changed(NetState(), (), self._kept([token]))
        return NetMove("", state, weight=self._net.places[place].weight, entered=(place,))

    def steps(self, state: NetState) -> list[NetMove]:
        """Return moves that stand for all."""
        for token, _ in state.tokens:
            if self._net.places[token.place].is_local:
                moves = list(self._alone(state, token))
                if moves:
                    return moves
        return self.all_steps(state)

    def all_steps(self, state: NetState) -> list[NetMove]:
        """Return every move."""
        alone = [move for token, _ in state.tokens for move in self._alone(state, token)]
        several = [move for number in self._shared for move in self._together(state, number)]
        return alone + several

    # One token

    def _alone(self, state: NetState, token: Token) -> Iterator[NetMove]:
        """Yield the moves of one token; those that are the same in every marking are planned."""
        if token not in self._plans:
            self._plans[token] = self._planned(token)
        plan = self._plans[token]
        if plan is None:
            yield from self._alone_here(state, token)
            return
        for move, put in plan:
            yield move._replace(state=changed(state, (token,), put))

    def _planned(self, token: Token) -> list[tuple[NetMove, tuple[Token, ...]]] | None:
        """Return the moves of a token with what they put; None where that depends on others."""
        place = self._net.places[token.place]
        if place.ends:
            return []
        choice = self._choice(token)
        numbers = {*choice.fires, *choice.manual}
        makes = [self._net.transitions[n] for n in numbers]
        if not place.is_local or any(one.sizes or one.definition.as_group for one in makes):
            return None
        one_there = NetState(((token, 1),))
        moves = self._alone_here(one_there, token)
        return [(move, tuple(lying(move.state))) for move in moves]

    def _alone_here(self, state: NetState, token: Token) -> Iterator[NetMove]:
        place, choice = self._net.places[token.place], self._choice(token)
        refuses = token.refuses & WAITS
        numbers = choice.manual if refuses else (*choice.fires, *choice.manual)
        for number in dict.fromkeys(numbers):
            yield from self._fire(state, number, token, (token,))
        may_wait = choice.stays or bool(place.definition.agents) or not place.is_local
        if place.timeout >= 0 and may_wait:
            label = f"({place.definition.id} times out)"
            put = self._kept([token._replace(place=place.timeout, refuses=0)])
            weight = self._net.places[place.timeout].weight
            if self._has_room(state, (token,), put):
                yield NetMove(label, changed(state, (token,), put), -1, weight, (place.timeout,))
        elif choice.fires and choice.stays and not (choice.manual or place.rests or refuses):
            yield self._refused(state, token, WAITS, f"({place.definition.id} keeps it)")
        if not token.refuses & DECLINED:
            for one in self._declinable(token):
                yield self._refused(state, token, DECLINED, f"({one.definition.id} refuses)")

    def _refused(self, state: NetState, token: Token, how: int, label: str) -> NetMove:
        stuck = token._replace(refuses=token.refuses | how)
        return NetMove(label, changed(state, (token,), (stuck,)))

    def _declinable(self, token: Token) -> Iterator[Transition]:
        """Yield what would take a token with others, but for a guard that need not hold."""
        place = self._net.places[token.place]
        for number in place.out:
            one = self._net.transitions[number]
            if is_shared(one) and may_hold(one.guard, place.definition, self._told(token))[1]:
                yield one

    def _choice(self, token: Token) -> TokenChoice:
        looks_at = self._net.places[token.place].looks_at
        key = (token.place, tuple(token.counters[n] for n in looks_at))
        if key not in self._choices:
            self._choices[key] = self._chosen(token)
        return self._choices[key]

    def _chosen(self, token: Token) -> TokenChoice:
        place, net = self._net.places[token.place], self._net
        out = [n for n in place.out if not is_shared(net.transitions[n])]
        out = [n for n in out if self._may_count(n, token.counters)]
        automatic = [n for n in out if not net.transitions[n].definition.manual]
        told = self._told(token)
        guards = [net.transitions[n].guard for n in automatic]
        found = verdicts(guards, place.definition, told)
        if found is None:
            possible = [may_hold(guard, place.definition, told) for guard in guards]
            fires, stays = _independent(automatic, possible, ordered=place.is_local)
        else:
            fires, stays = _first(automatic, found, ordered=place.is_local)
        by_hand = (n for n in out if net.transitions[n].definition.manual)
        manual = [
            n for n in by_hand if may_hold(net.transitions[n].guard, place.definition, told)[0]
        ]
        cascades = [n for n in out if n in place.cascades]
        return TokenChoice((*fires, *cascades), tuple(manual) if stays else (), stays)

    def _told(self, token: Token) -> dict[str, int]:
        return dict(zip(self._net.counted, token.counters, strict=True))

    def _may_count(self, number: int, counters: Sequence[int]) -> bool:
        one = self._net.transitions[number]
        most = one.definition.most
        return most is None or counters[one.counter] < most

    # Several tokens

    def _together(self, state: NetState, number: int) -> Iterator[NetMove]:
        one = self._net.transitions[number]
        for taking in taken_by(self._net, state, number):
            if not all(self._may_count(number, token.counters) for token in taking.taken):
                continue
            counters = zip(*(token.counters for token in taking.taken), strict=True)
            place, most = taking.taken[0].place, tuple(map(max, counters))
            merged = Token(place, 0, most, taking.groups)
            if not taking.is_short:
                yield from self._fire(state, number, merged, taking.gone)
            elif one.route >= 0:
                put = self._kept([merged._replace(place=one.route)])
                weight = self._net.places[one.route].weight
                after = changed(state, taking.gone, put)
                yield NetMove(f"{one.definition.id} fails", after, number, weight, (one.route,))
            elif one.definition.on_error.then == "pause":
                yield from self._fire(state, number, merged, taking.gone)
            else:
                yield NetMove(f"{one.definition.id} fails", FAILED, number)

    # Firing

    def _fire(
        self, state: NetState, number: int, token: Token, gone: Sequence[Token]
    ) -> Iterator[NetMove]:
        one, raised = self._net.transitions[number], self._raised(number, token)
        for outcome in _outcomes(one):
            put = self._put(state, outcome, raised)
            if outcome.must_fit and not self._has_room(state, gone, put):
                continue
            entered = tuple(dict.fromkeys(outcome.places))
            weight = self._weight(one, [each.place for each in put])
            after = changed(state, gone, self._kept(put))
            yield NetMove(f"{one.definition.id}{outcome.note}", after, number, weight, entered)

    def _put(self, state: NetState, outcome: FiringEnd, token: Token) -> list[Token]:
        if outcome.size < 0:
            return [token._replace(place=place) for place in outcome.places]
        number = _free_group(state)
        if len(outcome.places) == 1:
            group = Group(number, outcome.size)
            put = token._replace(place=outcome.places[0], groups=(*token.groups, group))
            return [put] * outcome.size
        return [
            token._replace(place=place, groups=(*token.groups, Group(number, outcome.size, index)))
            for index, place in enumerate(outcome.places)
        ]

    def _raised(self, number: int, token: Token) -> Token:
        counter = self._net.transitions[number].counter
        counters = list(token.counters)
        if counter >= 0:
            counters[counter] = min(counters[counter] + 1, self._net.caps[counter])
        return token._replace(counters=tuple(counters), refuses=0)

    def _weight(self, one: Transition, places: Iterable[int]) -> Weight:
        entered = [
            (place, n) for place, n in Counter(places).items() if self._net.places[place].weight
        ]
        if not entered:
            return one.weight
        total = Counter(dict(one.weight))
        for place, count in entered:
            for name, times in self._net.places[place].weight:
                total[name] += times * count
        return tuple(sorted(total.items()))

    def _has_room(self, state: NetState, gone: Sequence[Token], put: Sequence[Token]) -> bool:
        size = state.size - len(gone) + len(put)
        if len(put) > len(gone) and size > self._net.most_tokens:
            self.crowded = size
            return False
        for place, count in Counter(token.place for token in put).items():
            capacity = self._net.places[place].capacity
            if capacity is not None:
                here = sum(n for token, n in state.tokens if token.place == place)
                leaving = sum(token.place == place for token in gone)
                if here - leaving + count > capacity:
                    return False
        return True

    def _kept(self, put: Iterable[Token]) -> list[Token]:
        """Return what matters of tokens: those that have ended take room, if anything."""
        kept: list[Token] = []
        for token in put:
            place = self._net.places[token.place]
            if not place.ends:
                each = zip(token.counters, place.live, strict=True)
                counters = tuple(value if live else 0 for value, live in each)
                kept.append(token._replace(counters=counters))
            elif place.capacity is not None:
                kept.append(Token(token.place))
        return kept


def _outcomes(one: Transition) -> Iterator[FiringEnd]:
    """Yield how a transition may end."""
    for size in one.sizes:
        if size:
            yield FiringEnd(f" of {size}", one.targets, size)
        elif one.empty_to >= 0:
            yield FiringEnd(" of none", (one.empty_to,), must_fit=False)
    if not one.sizes:
        is_group = one.definition.as_group and len(one.targets) > 1
        yield FiringEnd("", one.targets, len(one.targets) if is_group else -1)
    if one.route >= 0 and (one.sizes or one.action is not None):
        yield FiringEnd(" fails", (one.route,), must_fit=False)


def _first(
    numbers: Sequence[int], found: Iterable[Verdict], *, ordered: bool
) -> tuple[list[int], bool]:
    """Return which of some transitions may go first, and whether there may be none."""
    first, stays = set[int](), False
    for verdict in found:
        enabled = [n for n, holds in zip(numbers, verdict, strict=True) if holds]
        first.update(enabled[:1] if ordered else enabled)
        stays = stays or not enabled
    return sorted(first), stays


def _independent(
    numbers: Sequence[int], possible: Sequence[tuple[bool, bool]], *, ordered: bool
) -> tuple[list[int], bool]:
    """Return the same where each guard may hold or not whatever the others do."""
    first: list[int] = []
    for number, (may, may_not) in zip(numbers, possible, strict=True):
        first += [number] if may else []
        if not may_not:
            return (first if ordered else [*numbers]), False
    return first, True


def _free_group(state: NetState) -> int:
    """Return the first number that no group has: so markings that are alike are the same."""
    taken = {group.number for token, _ in state.tokens for group in token.groups}
    return next(n for n in range(len(taken) + 1) if n not in taken)

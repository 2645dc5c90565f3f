"""What transitions take that need several tokens: one of each place, or those of a group. Pure."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from actors.workflow.core.proof.abstracting import Abstract, takes_all
from actors.workflow.core.proof.tokens import DECLINED, Group, NetState, Token, lying
from schemas.nets import Join

MOST_CHOICES = 1_000
"""Choices of one token of each place that are looked at."""


class Taking(NamedTuple):
    """The tokens taken, all that are gone with them, and the groups of the one they become.

    ``is_short``: they are fewer than a join takes at least, so that it fails.
    """

    taken: tuple[Token, ...]
    gone: tuple[Token, ...]
    groups: tuple[Group, ...]
    is_short: bool = False


def taken_by(net: Abstract, state: NetState, number: int) -> Iterator[Taking]:
    """Yield what a transition may take in a marking."""
    one = net.transitions[number]
    offered = [
        [
            token
            for token, _ in state.tokens
            if token.place == source and not token.refuses & DECLINED
        ]
        for source in one.sources
    ]
    join = one.definition.join
    if join is not None:
        tokens = [token for some in offered for token in some]
        yield from _joined(join, state, tokens)
    elif takes_all(one):
        is_open = [net.places[source].is_open for source in one.sources]
        yield from _each(offered, is_open)
    else:
        yield from (Taking((one,), (one,), one.groups) for some in offered for one in some)


def _each(offered: Sequence[Sequence[Token]], is_open: Sequence[bool]) -> Iterator[Taking]:
    """Yield each choice of one token of each place; where others put tokens none is needed."""
    columns = [
        [*some, None] if opened else [*some] for some, opened in zip(offered, is_open, strict=True)
    ]
    for count, some in enumerate(product(*columns)):
        if count == MOST_CHOICES:
            return
        tokens = tuple(token for token in some if token is not None)
        groups = merged([token.groups for token in tokens]) if tokens else None
        if groups is not None:
            yield Taking(tokens, tokens, groups)


def merged(each: Sequence[tuple[Group, ...]]) -> tuple[Group, ...] | None:
    """Return the groups of the token that tokens of these become; None if it cannot be.

    As the engine has it (``enabling.merged_group``). Which element of a fork a token is of is not
    kept here: two of one fork are taken to be copies of the same.
    """
    longest = max(each, key=len)
    if all(longest[: len(groups)] == groups for groups in each):
        return longest
    return longest[:-1] if all(_is_sibling(groups, longest) for groups in each) else None


def _is_sibling(one: tuple[Group, ...], other: tuple[Group, ...]) -> bool:
    if len(one) != len(other) or one[:-1] != other[:-1]:
        return False
    return one[-1].which >= 0 and one[-1].number == other[-1].number


def _joined(join: Join, state: NetState, tokens: Sequence[Token]) -> Iterator[Taking]:
    counts = dict(state.tokens)
    arrived: dict[int, list[Token]] = {}
    for token in tokens:
        group = token.groups[-1].number if token.groups else -1
        arrived.setdefault(group, []).extend([token] * counts[token])
    for group, here in arrived.items():
        here.sort(key=lambda token: token.counters)
        yield from _loose(join, here) if group < 0 else _of_group(join, state, group, here)


def _loose(join: Join, here: Sequence[Token]) -> Iterator[Taking]:
    """Tokens of no group are one where it is said how many are needed."""
    if join.need is None:
        return
    if len(here) >= join.need:
        first, last = tuple(here[: join.need]), tuple(here[-join.need :])
        yield from (Taking(some, some, ()) for some in dict.fromkeys((first, last)))
    elif join.deadline_seconds is not None:
        yield Taking(tuple(here), tuple(here), (), is_short=len(here) < join.least)


def _of_group(join: Join, state: NetState, group: int, here: Sequence[Token]) -> Iterator[Taking]:
    """Yield what is taken of a group: enough of it, or what is left when no more can come."""
    members = tuple(
        token for token in lying(state) if any(one.number == group for one in token.groups)
    )
    size, outer = here[0].groups[-1].size, here[0].groups[:-1]
    indexes = {token.groups[-1].which for token in here}
    count = len(here) if indexes == {-1} else len(indexes)
    need = size if join.need is None else min(join.need, size)
    if count >= need:
        # Which of them are there first decides only on the counters.
        some = dict.fromkeys((tuple(here), tuple(here[:need])))
        yield from (Taking(taken, members, outer) for taken in some)
    elif len(members) == len(here) or join.deadline_seconds is not None:
        yield Taking(tuple(here), members, outer, is_short=count < join.least)

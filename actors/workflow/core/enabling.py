"""What a transition would take now, and why it takes nothing. Pure, on an open marking.

It is enabled if it finds what its ``from_places`` must give (one token, one of each, a group), its
guard holds for each token taken, and there is room for what it puts.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, cast

from actors.workflow.core.compiling import CompiledNet, CompiledTransition
from actors.workflow.core.paths import MISSING
from actors.workflow.core.scratch import Lying, Scratch
from actors.workflow.core.tokens import GroupMark
from schemas.nets import (
    AgentTransitionConfig,
    HttpAction,
    Join,
    ToolAction,
    WorkflowAction,
)
from schemas.problems import Problem

PAID = AgentTransitionConfig | ToolAction | HttpAction | WorkflowAction
NO_GROUP = ""
Groups = tuple[GroupMark, ...]


class Binding(NamedTuple):
    """The tokens that a transition takes, and those that it cancels as the rest of their group."""

    taken: tuple[Lying, ...]
    cancelled: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    why: Literal["deadline", "rest_ended"] | None = None
    is_short: bool = False


class GroupMembers(NamedTuple):
    """Of one group: who has come to a join, and who may still come."""

    here: list[Lying]
    elsewhere: list[str]
    firings: list[str]
    size: int


def binding(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, only: str | None = None
) -> Binding | None:
    """Return what a transition would take, the token ``only`` among it; None if not enabled."""
    if not may_pay(net, scratch, transition):
        return None
    if transition.definition.join is not None:
        found = _group(net, scratch, transition, only)
    elif transition.definition.mode == "all":
        found = _each(scratch, transition, only)
    else:
        found = _any(scratch, transition, only)
    if found is None or not has_room(net, scratch, transition, found.taken):
        return None
    return found


def may_pay(net: CompiledNet, scratch: Scratch, transition: CompiledTransition) -> bool:
    """Say whether the money that is left is for this transition."""
    if not scratch.reserve or transition.action is None or transition.id in net.final:
        return True
    return not isinstance(transition.action.definition, PAID)


def passes(scratch: Scratch, transition: CompiledTransition, token: Lying) -> bool:
    """Say whether a transition may take a token, for all that is said of this one alone."""
    if token.id in scratch.busy:
        return False
    if transition.most is not None and token.counters.get(transition.id, 0) >= transition.most:
        return False
    return transition.guard is None or transition.guard(token)


def has_room(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, taken: Sequence[Lying]
) -> bool:
    """Say whether there is room for what a transition puts, in its places and the instance."""
    each = _forked(transition, taken)
    grows = each * len(transition.targets) - len(taken)
    if grows > 0 and population(net, scratch) + grows > net.definition.most_tokens:
        scratch.cramped = True
        return False
    if not net.is_bounded:
        return True
    return all(
        _fits(net, scratch, place, each * transition.targets.count(place), taken)
        for place in dict.fromkeys(transition.targets)
    )


def _fits(
    net: CompiledNet, scratch: Scratch, place: str, more: int, taken: Sequence[Lying]
) -> bool:
    found = net.places.get(place)
    capacity = found.capacity if found is not None else None
    if capacity is None:
        return True
    leaving = sum(token.place == place for token in taken)
    lying = len(scratch.places.get(place, ())) + promised(net, scratch, place)
    return lying - leaving + more <= capacity


def population(net: CompiledNet, scratch: Scratch) -> int:
    """Count the tokens there are, and those that running actions will put at the least."""
    return len(scratch.tokens) + sum(map(len, _promises(net, scratch)))


def _promises(net: CompiledNet, scratch: Scratch) -> Iterator[Sequence[str]]:
    for firing in scratch.firings.values():
        if firing.kind == "action":
            found = net.by_id.get(firing.name)
            yield (found.targets if found is not None else ()) or ("",)


def overfull(
    net: CompiledNet, scratch: Scratch, name: str, places: Sequence[str]
) -> Problem | None:
    """Return why there is no room for what a transition puts at the end of its action.

    There is room for one token in each of its places, so only a fork may find none.
    """
    expected = net.by_id[name].targets
    more = len(places) - len(expected)
    if more <= 0:
        return None
    if population(net, scratch) + more > net.definition.most_tokens:
        told = f"the instance would have more than {net.definition.most_tokens} tokens"
        return Problem(code="validation", message=told)
    full = [
        place
        for place in dict.fromkeys(places)
        if not _fits(net, scratch, place, places.count(place) - expected.count(place), ())
    ]
    if full:
        return Problem(code="validation", message=f"{full[0]} has no room for so many tokens")
    return None


def promised(net: CompiledNet, scratch: Scratch, place: str) -> int:
    """Count the tokens that running actions will put into a place."""
    return sum(each.count(place) for each in _promises(net, scratch))


def _forked(transition: CompiledTransition, taken: Sequence[Lying]) -> int:
    """Return into how many each token is forked; 1 where an action must end before it is known."""
    if transition.over is None or transition.action is not None or not taken:
        return 1
    items = transition.over(taken[0])
    return len(cast("list[Any]", items)) if isinstance(items, list) else 1


def _any(scratch: Scratch, transition: CompiledTransition, only: str | None) -> Binding | None:
    places = scratch.places
    if len(transition.sources) == 1:
        candidates: Iterable[Lying] = places.get(transition.sources[0], {}).values()
    else:
        candidates = _by_age(
            scratch, [places[each] for each in transition.sources if places.get(each)]
        )
    for token in candidates:
        if only in (None, token.id) and passes(scratch, transition, token):
            return Binding((token,))
    return None


def _by_age(scratch: Scratch, lying: Sequence[dict[str, Lying]]) -> Iterable[Lying]:
    if len(lying) < 2:  # noqa: PLR2004  one place is in order as it is
        return lying[0].values() if lying else ()
    names = set[str]().union(*lying)
    return (token for name, token in scratch.tokens.items() if name in names)


def _each(scratch: Scratch, transition: CompiledTransition, only: str | None) -> Binding | None:
    """Return one token of each place, the oldest of those that belong together."""
    columns = [
        [
            token
            for token in scratch.places.get(place, {}).values()
            if passes(scratch, transition, token)
        ]
        for place in transition.sources
    ]
    if only is not None:
        if not any(token.id == only for column in columns for token in column):
            return None
        columns = [[each for each in column if each.id == only] or column for column in columns]
    if not all(columns):
        return None
    for group in dict.fromkeys(token.group for column in columns for token in column):
        chosen = [
            next((each for each in column if _belongs(each, group)), None) for column in columns
        ]
        taken = [token for token in chosen if token is not None]
        if len(taken) == len(columns) and merged_group(taken) is not None:
            return Binding(tuple(taken))
    return None


def merged_group(tokens: Sequence[Lying]) -> Groups | None:
    """Return the groups of the token that several become; None if they do not belong together.

    Tokens belong together whose groups are the same, or begin those of the others. Several of one
    group that was made by a split become a token outside it.
    """
    longest = max((token.group for token in tokens), key=len)
    if all(longest[: len(token.group)] == token.group for token in tokens):
        return longest
    return longest[:-1] if all(_is_sibling(token.group, longest) for token in tokens) else None


def _belongs(token: Lying, group: Groups) -> bool:
    return group[: len(token.group)] == token.group or _is_sibling(token.group, group)


def _is_sibling(one: Groups, other: Groups) -> bool:
    if len(one) != len(other) or one[:-1] != other[:-1]:
        return False
    return one[-1].split and one[-1].group == other[-1].group


# Joins


def _group(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, only: str | None
) -> Binding | None:
    join = transition.definition.join
    for group, here in arrivals(scratch, transition).items():
        if only is not None and all(token.id != only for token in here):
            continue
        if join is not None and _is_enough(join, group, here):
            return joined(net, scratch, transition, group)
    return None


def _is_enough(join: Join, group: str, here: Sequence[Lying]) -> bool:
    if group == NO_GROUP:
        return join.need is not None and len(here) >= join.need
    size = here[0].group[-1].size
    need = size if join.need is None else min(join.need, size)
    return len({token.group[-1].index for token in here}) >= need


def arrivals(scratch: Scratch, transition: CompiledTransition) -> dict[str, list[Lying]]:
    """Return by group the tokens that a join could take now, the groups in order of arrival."""
    found: dict[str, list[Lying]] = {}
    for token in _by_age(scratch, [scratch.places.get(each, {}) for each in transition.sources]):
        if passes(scratch, transition, token):
            found.setdefault(group_of(token), []).append(token)
    return found


def group_of(token: Lying) -> str:
    """Return the innermost group of a token; ``NO_GROUP`` if it is of none."""
    return token.group[-1].group if token.group else NO_GROUP


def joined(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, group: str
) -> Binding:
    """Return what a join takes of a group, in the order of its fork, and the rest to cancel."""
    members = members_of(net, scratch, transition, group)
    if group == NO_GROUP:
        join = transition.definition.join
        return Binding(tuple(members.here[: join.need] if join else ()))
    here = sorted(members.here, key=lambda each: (each.group[-1].index, int(each.id)))
    return Binding(tuple(here), tuple(members.elsewhere), tuple(members.firings))


def members_of(
    net: CompiledNet, scratch: Scratch, transition: CompiledTransition, group: str
) -> GroupMembers:
    """Return all of a group that has not ended: at the join, lying elsewhere, held by firings."""
    here = arrivals(scratch, transition).get(group, [])
    if group == NO_GROUP:
        return GroupMembers(here, [], [], 0)
    names = {token.id for token in here}
    elsewhere = [
        token.id
        for token in scratch.tokens.values()
        if token.id not in names and _is_of(token, group) and not net.is_end(token.place)
    ]
    firings = [
        firing.id
        for firing in scratch.firings.values()
        if firing.token is not None and _is_of(firing.token, group)
    ]
    return GroupMembers(here, elsewhere, firings, here[0].group[-1].size if here else 0)


def _is_of(token: Lying, group: str) -> bool:
    return any(mark.group == group for mark in token.group)


def overdue(net: CompiledNet, scratch: Scratch, transition: CompiledTransition) -> Binding | None:
    """Return what a join takes that will not get all it waits for; ``is_short`` is a failure.

    Its deadline has passed, or the rest of the group has ended elsewhere.
    """
    join = transition.definition.join
    if join is None or not may_pay(net, scratch, transition):
        return None
    for group, here in arrivals(scratch, transition).items():
        why: Literal["deadline", "rest_ended"] | None = None
        at = deadline_of(join, here)
        if at is not None and at <= scratch.at:
            why = "deadline"
        elif group != NO_GROUP and not _is_awaited(net, scratch, group, here):
            why = "rest_ended"
        if why is None:
            continue
        found = joined(net, scratch, transition, group)
        if has_room(net, scratch, transition, found.taken):
            count = len({token.group[-1].index if token.group else token.id for token in here})
            return found._replace(why=why, is_short=count < join.least)
    return None


def _is_awaited(net: CompiledNet, scratch: Scratch, group: str, here: Sequence[Lying]) -> bool:
    """Say whether any of a group may still come to a join."""
    for firing in scratch.firings.values():
        if firing.token is not None and _is_of(firing.token, group):
            return True
    names = {token.id for token in here}
    return any(
        _is_of(token, group) and token.id not in names and not net.is_end(token.place)
        for token in scratch.tokens.values()
    )


def deadline_of(join: Join, here: Sequence[Lying]) -> datetime | None:
    """Return when a join goes on with those of a group that are there."""
    if join.deadline_seconds is None or not here:
        return None
    return min(token.since for token in here) + timedelta(seconds=join.deadline_seconds)


def taken_element(transition: CompiledTransition, token: Lying) -> object:
    """Return what a join collects of a token; null where it is missing."""
    value = transition.take(token) if transition.take is not None else None
    return None if value is MISSING else value

"""What a transition puts: one token, one for each place, or one for each element of a list."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, NamedTuple, cast

import msgspec

from actors.workflow.core.compiling import CompiledTransition
from actors.workflow.core.enabling import merged_group, taken_element
from actors.workflow.core.paths import ROOTS, target
from actors.workflow.core.scratch import Lying, changed
from actors.workflow.core.steps import TokenChange
from actors.workflow.core.tokens import MOST_FORKED_BYTES, MOST_TOKEN_BYTES, GroupMark
from schemas.bounds import BoundsError, check, check_value
from schemas.nets import Fork, TransformAction
from schemas.problems import Problem

NewId = Callable[[], str]


class Spread(NamedTuple):
    """What is put, and the token of which several are copies."""

    puts: tuple[TokenChange, ...]
    base: TokenChange | None = None


def merged(transition: CompiledTransition, taken: tuple[Lying, ...]) -> TokenChange:
    """Return the one token that those taken become, as a change of the first."""
    first, join = taken[0], transition.definition.join
    change = TokenChange(id=first.id)
    if join is not None:
        results = [taken_element(transition, token) for token in taken]
        change = msgspec.structs.replace(
            change,
            drops=(join.take,) if target(join.take) else (),
            sets={join.into: results},
            counters=_most(taken),
            group=first.group[:-1],
        )
    elif len(taken) > 1:
        change = msgspec.structs.replace(
            change,
            data=_union([token.data for token in taken]),
            metadata=_union([token.metadata for token in taken]),
            counters=_most(taken),
            group=merged_group(taken),
        )
    if transition.most is not None:
        counters = first.counters if change.counters is None else change.counters
        count = counters.get(transition.id, 0) + 1
        change = msgspec.structs.replace(change, counters={**counters, transition.id: count})
    return change


def transformed(
    transition: CompiledTransition, change: TokenChange, view: Lying
) -> TokenChange | Problem:
    """Return a change, and what a transform does to the token that it gives."""
    if transition.transform is None:
        return change
    sets = transition.transform(view)
    if isinstance(sets, Problem):
        return sets
    action = transition.definition.action
    drops = tuple(action.remove) if isinstance(action, TransformAction) else ()
    kept = {path: value for path, value in change.sets.items() if path not in drops}
    return msgspec.structs.replace(change, sets={**kept, **sets}, drops=(*change.drops, *drops))


def spread(
    transition: CompiledTransition, token: Lying, change: TokenChange, at: datetime, new_id: NewId
) -> Spread | Problem:
    """Return all that a transition puts of a token that is changed so, or why it cannot."""
    view = changed(token, change, at)
    if change.sets or change.data is not None:
        problem = oversized(view)
        if problem is not None:
            return problem
    fork = transition.definition.fork
    if fork is not None:
        return _forked(transition, fork, view, change, new_id)
    return _copies(transition, view, change, new_id)


def oversized(token: Lying, most: int = MOST_TOKEN_BYTES) -> Problem | None:
    """Return why the data of a token cannot be kept."""
    try:
        check_value({"data": token.data, "metadata": token.metadata})
        size = len(msgspec.json.encode((token.data, token.metadata)))
        check(msgspec.json.encode(token.data))
    except (BoundsError, RecursionError):
        return Problem(code="validation", message="the data of a token are nested too deep")
    if size > most:
        return Problem(code="validation", message=f"the data of a token exceed {most} bytes")
    return None


def _copies(
    transition: CompiledTransition, view: Lying, change: TokenChange, new_id: NewId
) -> Spread:
    targets = transition.targets
    if len(targets) < 2:  # noqa: PLR2004  one token is the changed one itself
        return Spread(tuple(msgspec.structs.replace(change, place=each) for each in targets))
    groups = (
        _marks(view, len(targets), new_id, split=True) if transition.definition.as_group else None
    )
    puts = [
        TokenChange(
            id=new_id() if at else change.id,
            of=change.id,
            place=place,
            group=groups[at] if groups else None,
        )
        for at, place in enumerate(targets)
    ]
    return Spread(tuple(puts), change)


def _forked(
    transition: CompiledTransition,
    fork: Fork,
    view: Lying,
    change: TokenChange,
    new_id: NewId,
) -> Spread | Problem:
    items = transition.over(view) if transition.over is not None else None
    problem = _unforkable(transition, fork, view, items)
    if problem is not None or not isinstance(items, list):
        return problem or _no_list(fork)
    if not items:
        return Spread((msgspec.structs.replace(change, place=fork.empty_to),))
    each = cast("list[Any]", items)
    groups = _marks(view, len(each), new_id)
    puts = [
        TokenChange(
            id=new_id(),
            of=change.id,
            place=place,
            drops=_over(fork, view),
            sets={fork.into: item},
            group=group,
        )
        for place in transition.targets
        for item, group in zip(each, groups, strict=True)
    ]
    return Spread(tuple(puts), change)


def _over(fork: Fork, view: Lying) -> tuple[str, ...]:
    """Return where the list lies that none of the forked tokens keeps."""
    root = fork.over.split(".", 1)[0]
    if root not in ROOTS:
        return (f"{'metadata' if root in view.metadata else 'data'}.{fork.over}",)
    return (fork.over,) if target(fork.over) else ()


def _unforkable(
    transition: CompiledTransition, fork: Fork, view: Lying, items: object
) -> Problem | None:
    if not isinstance(items, list):
        return _no_list(fork)
    count = len(cast("list[Any]", items))
    if not count and fork.empty_to is None:
        return Problem(code="validation", message=f"{fork.over} is empty: there is nothing to fork")
    if count > fork.most:
        told = f"{fork.over} has {count} elements, more than {fork.most}"
        return Problem(code="validation", message=told)
    size = len(msgspec.json.encode((view.data, view.metadata)))
    rest = size - len(msgspec.json.encode(items))
    if rest * count * len(transition.targets) > MOST_FORKED_BYTES:
        told = f"the data are too large to be copied for {count} tokens"
        return Problem(code="validation", message=told)
    return None


def _no_list(fork: Fork) -> Problem:
    return Problem(code="validation", message=f"{fork.over} is no list")


def _marks(
    view: Lying, size: int, new_id: NewId, *, split: bool = False
) -> list[tuple[GroupMark, ...]]:
    group = new_id()
    return [
        (*view.group, GroupMark(group=group, index=index, size=size, split=split))
        for index in range(size)
    ]


def _most(taken: tuple[Lying, ...]) -> dict[str, int]:
    """Return the counters of a token that several become: of each the highest."""
    counters: dict[str, int] = {}
    for token in taken:
        for name, count in token.counters.items():
            counters[name] = max(count, counters.get(name, 0))
    return counters


def _union(each: list[dict[str, Any]]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for one in each:
        whole.update(one)
    return whole

"""What is outstanding of one entity, kept up to date by what commands open and close. Pure."""

from typing import NamedTuple

from schemas.decision import Changes, Effect

Open = dict[str, Effect]
"""The effects of an entity that are open, by id."""

Earlier = dict[str, Effect | None]
"""Of the ids that were changed: what was open before the first change, None for nothing."""


class Net(NamedTuple):
    """What some changes together have opened and closed."""

    opened: list[Effect]
    closed: list[Effect]


def change(open_now: Open, changes: Changes, earlier: Earlier) -> None:
    """Apply changes to what is open, and note what was there before."""
    for name in changes.closed:
        was = open_now.pop(name, None)
        earlier.setdefault(name, was)
    for effect in changes.opened:
        name = effect.id
        earlier.setdefault(name, open_now.get(name))
        open_now[name] = effect


def net(open_now: Open, earlier: Earlier) -> Net:
    """Return what was opened and closed since, leaving out what was opened and closed again."""
    opened: list[Effect] = []
    closed: list[Effect] = []
    for name, was in earlier.items():
        now = open_now.get(name)
        if was is None and now is not None:
            opened.append(now)
        elif was is not None and now is None:
            closed.append(was)
    return Net(opened, closed)

"""What a seed has in store: what users do, and what befalls whole processes. All of it is named."""

import random
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from bus.config import Timing

OWNERS = ("one", "two", "three")
WORKERS = ("left", "right")
USERS = ("ann", "bob")
ACCOUNTS = ("a", "b", "d")

BUSY_SECONDS = 5.0
"""Everything that is planned begins within this time; then it is quiet, and all must end well."""


SMALL_JOURNALS = (12_000, 16_000)
"""Bounds that the journals of many histories reach, so that what has happened has to go."""


DELETED = 0.3
"""So many of the executions somebody wants to be deleted."""


class Event(NamedTuple):
    """Something that happens at a moment. ``name`` says it in words and is unique in its plan."""

    at: float
    what: str
    who: str
    values: Mapping[str, Any]

    @property
    def name(self) -> str:
        details = " ".join(
            f"{key}={value:.2f}" if isinstance(value, float) else f"{key}={value}"
            for key, value in self.values.items()
        )
        return f"{self.at:.2f} {self.who} {self.what} {details}".rstrip()


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [*_executions(chance), *_transfers(chance), *troubles(chance)]
    events += _direct_transfers(random.Random(seed + 2))
    events += _wrong_days(random.Random(seed + 3))
    events += _late_transfers(random.Random(seed + 4))
    events += _deletions(random.Random(seed + 5), events)
    return sorted(events, key=lambda event: (event.at, event.name))


def timing_of(seed: int) -> Timing:
    """Draw the bounds that decide how often rare paths are taken."""
    chance = random.Random(seed + 1)
    chance.choice([4.0, 120.0])
    return msgspec.structs.replace(
        Timing(),
        record_delay_seconds=0.2,
        snapshot_commits=chance.choice([2, 5, 1000]),
        entities_in_memory=chance.choice([0, 1, 1000]),
        blob_bytes=chance.choice([300, 64 * 1024, 64 * 1024]),
        resend_window_seconds=2.0,
        turn_commands=chance.choice([1, 3, 256]),
        rest_seconds=chance.choice([0.2, 1.0]),
        idle_seconds=chance.choice([0.1, 1.0, 60.0]),
        due_soon_seconds=chance.choice([0.0, 600.0]),
    )


def bounded(timing: Timing, seed: int) -> Timing:
    """Draw the bound of the journals: in a third of the histories they get full."""
    usual = timing.journal_max_bytes
    bound = random.Random(seed + 4).choice([*SMALL_JOURNALS, *4 * [usual]])
    return msgspec.structs.replace(timing, journal_max_bytes=bound)


def _executions(chance: random.Random) -> list[Event]:
    events: list[Event] = []
    for number in range(chance.randint(1, 4)):
        key = f"e{number}"
        at = chance.uniform(0.6, 3.0)
        short = chance.random() < 0.2
        timeout = chance.uniform(1.0, 6.0) if short else 600.0
        asked = {"key": key, "digest": "d", "timeout": timeout}
        events.append(Event(at, "executes", chance.choice(USERS), asked))
        if chance.random() < 0.4:
            again = {**asked, "digest": chance.choice(["d", "d", "other"])}
            events.append(Event(at + chance.choice([0.0, 0.5, 2.0]), "executes", "cyd", again))
        if chance.random() < 0.25:
            who, later = chance.choice(USERS), at + chance.uniform(0.0, 2.0)
            events.append(Event(later, "cancels", who, {"key": key}))
        if chance.random() < 0.3:
            who, later = chance.choice(USERS), at + chance.uniform(0.0, 4.0)
            events.append(Event(later, "looks at", who, {"key": key}))
    return events


def _transfers(chance: random.Random) -> list[Event]:
    events: list[Event] = []
    for number in range(chance.randint(1, 4)):
        sender, receiver = chance.sample(ACCOUNTS, 2)
        at = chance.uniform(0.6, 3.0)
        order = {
            "key": sender,
            "transfer": f"t{number}",
            "to": receiver,
            "amount": chance.randint(1, 9),
            "wait": chance.choice([0.0, chance.uniform(0.0, 3.0)]),
        }
        events.append(Event(at, "orders", chance.choice(USERS), order))
        if chance.random() < 0.3:
            events.append(Event(at + chance.uniform(0.0, 0.5), "orders", "cyd", order))
        if chance.random() < 0.2:
            off = {"key": sender, "transfer": f"t{number}"}
            events.append(Event(at + chance.uniform(0.0, 2.0), "calls off", "ann", off))
    if chance.random() < 0.2:
        broken = {"key": chance.choice(ACCOUNTS)}
        events.append(Event(chance.uniform(0.6, 3.0), "breaks", "bob", broken))
    return events


def _direct_transfers(chance: random.Random) -> list[Event]:
    """Draw transfers for which one account asks the other."""
    events: list[Event] = []
    for number in range(chance.randint(1, 3)):
        sender, receiver = chance.sample(ACCOUNTS, 2)
        order = {
            "key": sender,
            "transfer": f"d{number}",
            "to": receiver,
            "amount": chance.randint(1, 9),
            "wait": chance.choice([0.0, chance.uniform(0.0, 3.0)]),
            "direct": True,
        }
        events.append(Event(chance.uniform(0.6, 4.0), "orders", chance.choice(USERS), order))
    return events


def _late_transfers(chance: random.Random) -> list[Event]:
    """Draw transfers whose account can leave memory before their time comes."""
    if chance.random() < 0.6:
        return []
    sender, receiver = chance.sample(ACCOUNTS, 2)
    order = {
        "key": sender,
        "transfer": "late",
        "to": receiver,
        "amount": chance.randint(1, 9),
        "wait": chance.uniform(5.0, 9.0),
    }
    return [Event(chance.uniform(0.6, 3.0), "orders", chance.choice(USERS), order)]


def _deletions(chance: random.Random, events: Sequence[Event]) -> list[Event]:
    """Draw who deletes executions: some have not ended, and some are gone already."""
    keys = sorted({each.values["key"] for each in events if each.what == "executes"})
    return [
        Event(chance.uniform(1.5, BUSY_SECONDS), "deletes", chance.choice(USERS), {"key": key})
        for key in keys
        if chance.random() < DELETED
        for _ in range(chance.choice([1, 1, 2]))
    ]


def troubles(chance: random.Random) -> list[Event]:
    """Draw what befalls whole processes."""
    kinds = [_killed, _struck, _paused, _cut, _deaf, _skewed, _restarted]
    chosen = chance.sample(kinds, chance.randint(0, 4))
    befallen = [kind(chance) for kind in chosen for _ in range(chance.choice([1, 1, 2, 3]))]
    return [*befallen, *_departures(chance)]


def _killed(chance: random.Random) -> Event:
    steps = {"in steps": chance.randint(1, 60)}
    return Event(_moment(chance), "is killed", chance.choice(OWNERS + WORKERS), steps)


def _struck(chance: random.Random) -> Event:
    """A worker dies soon after it has begun what it begins next."""
    steps = {"in steps": chance.randint(1, 30)}
    return Event(_moment(chance), "is killed at work", chance.choice(WORKERS), steps)


def _paused(chance: random.Random) -> Event:
    values = {"in steps": chance.randint(1, 60), "for": chance.uniform(0.2, 4.0)}
    return Event(_moment(chance), "stands still", chance.choice(OWNERS + WORKERS), values)


def _cut(chance: random.Random) -> Event:
    who = chance.choice(OWNERS + WORKERS)
    return Event(_moment(chance), "loses the bus", who, {"for": chance.uniform(0.1, 3.0)})


def _deaf(chance: random.Random) -> Event:
    """One owner does not hear another for a while, so it takes over what that one still serves."""
    listener, speaker = chance.sample(OWNERS, 2)
    values = {"to": speaker, "for": chance.uniform(1.5, 4.0)}
    return Event(_moment(chance), "is deaf", listener, values)


def _skewed(chance: random.Random) -> Event:
    values = {"by": chance.uniform(-3.0, 3.0)}
    return Event(_moment(chance), "resets its clock", chance.choice(OWNERS + WORKERS), values)


def _wrong_days(chance: random.Random) -> list[Event]:
    """Draw an owner whose clock is days off: from its beginning, or by a jump in its life."""
    if chance.random() < 0.85:
        return []
    values = {"by": chance.choice([-2, -1, 1, 2]) * 86_400.0}
    moment = chance.choice([0.0, _moment(chance)])
    return [Event(moment, "resets its clock", chance.choice(OWNERS), values)]


def _restarted(chance: random.Random) -> Event:
    values = {"losing": chance.choice([0.0, 0.05, 0.5]), "away": chance.uniform(0.0, 1.0)}
    return Event(_moment(chance), "is killed and comes back", "bus", values)


def _departures(chance: random.Random) -> list[Event]:
    """Draw processes that are asked to stop, finish what they have and come back later."""
    leavers = chance.sample(OWNERS + WORKERS, chance.choice([0, 0, 0, 1, 2]))
    return [Event(_moment(chance), "leaves", who, {}) for who in leavers]


def _moment(chance: random.Random) -> float:
    return chance.uniform(0.5, BUSY_SECONDS)

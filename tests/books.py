"""The ledger kept a second time, as simply as can be: what must hold of any account's journal."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from schemas.escrow import BlockClosed, BlockGranted, BlockReturned
from schemas.ids import PLATFORM
from schemas.ledger import (
    AccountEvent,
    Adjusted,
    AlertRaised,
    BudgetRemoved,
    BudgetSet,
    Charged,
    Extended,
    Lapsed,
    Reference,
    Reserved,
    ToppedUp,
    Voided,
)

Ended = Charged | Voided | Lapsed


def name_of(reference: Reference) -> str:
    """Name an attempt by what tells it from others."""
    return f"{reference.execution_id}.{reference.step}.{reference.attempt}"


class Books:
    """Takes in the events of one account, and says what is wrong with each.

    Written apart from the account's core. By the name of an attempt, ``holds`` and ``leases`` are
    what is held for it and until when, ``granted`` all that was ever held, ``booked`` what a lapse
    has booked, ``ends`` how it has ended and ``paid`` what it was charged.
    """

    def __init__(self) -> None:
        self.limits: dict[str, int] = {}
        self.held: Counter[str] = Counter()
        self.spent: Counter[str] = Counter()
        self.added: Counter[str] = Counter()
        self.holds: dict[str, int] = {}
        self.leases: dict[str, datetime] = {}
        self.booked: dict[str, int] = {}
        self.ends: dict[str, list[str]] = {}
        self.paid: dict[str, int] = {}
        self.reserved: Counter[str] = Counter()
        self.granted: Counter[str] = Counter()
        self.alerts: Counter[tuple[str, str, int | None]] = Counter()

    def enter(self, event: AccountEvent) -> Iterator[str]:
        """Take in an event; yield what is wrong with it."""
        match event:
            case Reserved() | Extended():
                yield from self._hold(event)
            case Charged() | Voided() | Lapsed():
                yield from self._end(event)
            case AlertRaised():
                self.alerts[event.account, event.alert, event.percent] += 1
            case ToppedUp():
                self.added[event.account] += event.amount_pico
            case Adjusted():
                self.spent[event.account] += event.amount_pico
            case BlockGranted():
                self.limits[PLATFORM] = 0
                self.added[event.account] += event.amount_pico
            case BlockReturned():
                self.added[event.account] -= event.amount_pico
            case BlockClosed():
                self.added[event.account] -= event.amount_pico
                self.spent[event.account] -= event.spent_pico
            case BudgetSet():
                self._rule(event)
            case BudgetRemoved():
                self.limits.pop(event.id, None)
            case _:
                return

    def standing(self) -> Iterator[str]:
        """Yield what is wrong once nothing more comes and every lease has ended."""
        yield from (f"{name} is held twice" for name, n in self.reserved.items() if n > 1)
        yield from (f"told twice: {alert}" for alert, n in self.alerts.items() if n > 1)
        yield from (f"{name} outlives its lease" for name in self.holds)

    def _rule(self, event: BudgetSet) -> None:
        if event.budget.hard:
            self.limits[event.budget.id] = event.budget.limit_pico
        else:
            self.limits.pop(event.budget.id, None)

    def _hold(self, event: Reserved | Extended) -> Iterator[str]:
        name = name_of(event.reference)
        self.reserved[name] += isinstance(event, Reserved)
        self.holds[name] = self.holds.get(name, 0) + event.amount_pico
        self.granted[name] += event.amount_pico
        if event.lease_until is not None:
            self.leases[name] = event.lease_until
        if name in self.ends:
            yield f"{name} is held after its end"
        if self.leases[name] <= event.at:
            yield f"{name} is held after its lease"
        for account in event.accounts:
            self.held[account] += event.amount_pico
            limit = self.limits.get(account.partition("/")[0])
            taken = self.held[account] + self.spent[account] - self.added[account]
            if limit is not None and taken > limit and event.amount_pico > 0:
                yield f"{account} is exceeded by {name}: {taken} of {limit}"

    def _end(self, event: Ended) -> Iterator[str]:
        name, kind = name_of(event.reference), type(event).__name__
        held, before = self.holds.pop(name, 0), self.booked.pop(name, 0)
        ends = self.ends.setdefault(name, [])
        if kind in ends or "Charged" in ends:
            yield f"{name} is {kind} after {ends}"
        ends.append(kind)
        if held != event.held_pico:
            yield f"{name} held {held}, not {event.held_pico}"
        if isinstance(event, Lapsed) and event.at < self.leases[name]:
            yield f"{name} lapses before its lease ends"
        now = event.cost_pico if isinstance(event, Charged) else 0
        if isinstance(event, Charged):
            self.paid[name] = now
            if now != sum(charge.cost_pico or 0 for charge in event.charges):
                yield f"{name} costs {now}, which is not the sum of its charges"
        if isinstance(event, Lapsed):
            now = self.booked[name] = event.booked_pico
        for account in event.accounts:
            self.held[account] -= held
            self.spent[account] += now - before


def kept(journal: Iterable[AccountEvent]) -> tuple[Books, list[str]]:
    """Return the books of a journal, and all that is wrong with it, its end apart."""
    books = Books()
    return books, [fault for event in journal for fault in books.enter(event)]

"""Tenants that compete for the platform's money in virtual time, on a bus that loses nothing.

Who is told to wait asks again when it was told to, and what an account asks of another takes a
moment there and back; so only the accounts themselves can stand in the way of money.
"""

import heapq
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any, NamedTuple

import msgspec

from actors.pricing.core import blocks, escrow, ledger
from bus.codec import decode, encode
from schemas.decision import Ask
from schemas.ids import PLATFORM
from schemas.ledger import AccountCommand, Lapse, MoneyHeld
from schemas.problems import Problem
from tests.unit.pricing.owner import NOON, Owner, reserve, settle

MOST_SECONDS = 600.0
"""Nothing lasts longer."""

LONGEST_WAY = 0.05
"""Seconds from one account to another."""


class Attempt(NamedTuple):
    """What somebody wants, and for how many seconds; then it has cost something."""

    tenant: str
    name: str
    wanted: int
    lasts: float
    cost: int


class Outcome(NamedTuple):
    """How an attempt was answered, ``waited`` seconds after it had asked first.

    It would have ``fitted`` for so many seconds in a row before.
    """

    attempt: Attempt
    is_held: bool
    waited: float
    fitted: float


class Borrowers:
    """Accounts of tenants that have no money but the platform's, of which there is ``cap``."""

    def __init__(self, tenants: Sequence[str], cap: int, chance: Random) -> None:
        self.now = 0.0
        self.outcomes: list[Outcome] = []
        self._owners = {name: Owner(tenant=name) for name in (PLATFORM, *tenants)}
        self._owners[PLATFORM].budget("all", cap, window="total")
        self._chance = chance
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._entries = 0
        self._under_way: set[str] = set()
        self._timers: dict[str, datetime] = {}
        self._rooms = [(0.0, cap)]

    @property
    def room(self) -> int:
        """What attempts have neither spent nor hold."""
        return self._rooms[-1][1]

    def at(self, moment: float, then: Callable[[], None]) -> None:
        """Let something happen at a moment."""
        self._entries += 1
        heapq.heappush(self._agenda, (moment, self._entries, then))

    def run(self, until: float) -> None:
        """Let everything happen that does before a moment."""
        while self._agenda and self._agenda[0][0] <= until:
            self.now, _, then = heapq.heappop(self._agenda)
            then()
        self.now = until

    # Attempts

    def ask(self, attempt: Attempt) -> None:
        """Let an attempt ask until it is held or refused."""
        began, at = self.now, self._clock

        def again() -> None:
            lease = attempt.lasts + MOST_SECONDS
            wanted = reserve(attempt.name, attempt.wanted, now=self._clock, at=at, lease=lease)
            wanted = msgspec.structs.replace(wanted, platform=True)
            answer: MoneyHeld | Problem = self._tell(attempt.tenant, wanted)
            is_held = isinstance(answer, MoneyHeld)
            if isinstance(answer, Problem) and answer.code == "unavailable":
                self.at(self.now + (answer.retry_after or 0.0), again)
                return
            fitted = self._fitted(attempt.wanted)
            self.outcomes.append(Outcome(attempt, is_held, self.now - began, fitted))
            if is_held:
                self._rooms.append((self.now, self.room - attempt.wanted))
                self.at(self.now + attempt.lasts, pay)

        def pay() -> None:
            self._tell(attempt.tenant, settle(attempt.name, attempt.cost, now=self._clock, at=at))
            self._rooms.append((self.now, self.room + attempt.wanted - attempt.cost))

        again()

    def _fitted(self, wanted: int) -> float:
        """Return for how many seconds so much has been neither spent nor held."""
        since = self.now
        for moment, room in reversed(self._rooms):
            if room < wanted:
                return self.now - since
            since = moment
        return self.now

    # Accounts

    @property
    def _clock(self) -> datetime:
        return NOON + timedelta(seconds=self.now)

    def _tell(self, name: str, command: AccountCommand) -> Any:
        owner = self._owners[name]
        owner.now = self._clock
        reply = owner.ask(command)
        for ask in escrow.asks(owner.state.escrow, name):
            self._send(name, ask)
        self._set_timer(name)
        return reply

    def _send(self, sender: str, ask: Ask) -> None:
        if ask.id in self._under_way:
            return
        self._under_way.add(ask.id)

        def arrive() -> None:
            answer = encode(self._tell(ask.tenant, decode(_COMMAND, encode(ask.command))))
            self.at(
                self.now + self._delay(), lambda: self._tell(sender, escrow.answered(ask, answer))
            )

        self.at(self.now + self._delay(), arrive)

    def _delay(self) -> float:
        return self._chance.uniform(0.0, LONGEST_WAY)

    def _set_timer(self, name: str) -> None:
        state = self._owners[name].state
        due_times = [due for due in (ledger.due(state), blocks.due(state)) if due is not None]
        if due_times and self._timers.get(name) != min(due_times):
            due = self._timers[name] = min(due_times)

            def ring() -> None:
                if self._timers.get(name) == due:
                    del self._timers[name]
                    self._tell(name, Lapse())

            self.at(max(self.now, (due - NOON).total_seconds()), ring)


_COMMAND: Any = AccountCommand

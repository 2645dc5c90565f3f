"""Accounts of a platform and its tenants in a test, and the asks between them, lost or repeated."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import msgspec

from actors.pricing.core import blocks, escrow, ledger
from actors.pricing.core.decisions import LedgerRules
from bus.codec import decode, encode
from schemas import pages
from schemas.decision import Ask
from schemas.ids import PLATFORM
from schemas.ledger import AccountCommand, Extend, Lapse, MoneyHeld, Reference, Void
from schemas.problems import Problem
from tests.unit.pricing.owner import PLAIN, Owner, reference, reserve, settle

STEP = timedelta(seconds=0.2)


class Lenders:
    """The platform's account and those of tenants; whoever sends something sends it again."""

    def __init__(self, tenants: Sequence[str], rules: LedgerRules = PLAIN) -> None:
        self.owners = {name: Owner(rules, name) for name in (PLATFORM, *tenants)}
        self.sent: list[Ask] = []
        self.slices: dict[tuple[str, str], int] = {}
        self.began: dict[tuple[str, str], datetime] = {}
        self._tried = 0

    # What tenants do

    def reserve(
        self, tenant: str, name: str, amount: int, lease: float = 60.0
    ) -> MoneyHeld | Problem:
        """Hold money of the platform for an attempt."""
        owner = self.owners[tenant]
        at = self.began.setdefault((tenant, name), owner.now)
        wanted = reserve(name, amount, now=owner.now, at=at, lease=lease)
        return owner.ask(msgspec.structs.replace(wanted, platform=True))

    def hold(self, tenant: str, name: str, amount: int, lease: float = 60.0) -> MoneyHeld | Problem:
        """Do so as an execution does: until it is held or refused."""
        while True:
            answer = self.reserve(tenant, name, amount, lease)
            if not isinstance(answer, Problem) or answer.code != "unavailable":
                return answer
            self.wait(STEP)
            self.deliver_all()

    def extended(self, tenant: str, name: str, amount: int) -> MoneyHeld | Problem:
        """Hold more, as the worker of a stream does."""
        number = self.slices.get((tenant, name), 0) + 1
        where = reference(name, self.began[tenant, name])
        while True:
            answer = self._extend(tenant, where, number, amount)
            if not isinstance(answer, Problem):
                self.slices[tenant, name] = number
            if not isinstance(answer, Problem) or answer.code != "unavailable":
                return answer
            self.wait(STEP)
            self.deliver_all()

    def _extend(
        self, tenant: str, where: Reference, number: int, amount: int
    ) -> MoneyHeld | Problem:
        return self.owners[tenant].ask(Extend(reference=where, slice=number, amount_pico=amount))

    # What happens between them

    def open(self) -> list[tuple[str, Ask]]:
        """Return what is asked and not answered yet."""
        return [
            (name, ask)
            for name, owner in self.owners.items()
            for ask in escrow.asks(owner.state.escrow, name)
        ]

    def deliver(self, sender: str, ask: Ask, *, loses_answer: bool = False) -> None:
        """Let an account be asked, and answer."""
        self.sent.append(ask)
        answer = self._asked(ask)
        if not loses_answer:
            self.owners[sender].ask(escrow.answered(ask, answer))

    def _asked(self, ask: Ask) -> bytes:
        kind: Any = AccountCommand
        return encode(self.owners[ask.tenant].ask(decode(kind, encode(ask.command))))

    def deliver_all(self) -> None:
        """Deliver until nothing is open."""
        while waiting := self.open():
            for sender, ask in waiting:
                self.deliver(sender, ask)

    def wait(self, span: timedelta) -> None:
        """Let time go by, and timers ring."""
        for owner in self.owners.values():
            owner.now += span
        self.ring()

    def ring(self) -> None:
        """Ring all timers that are due."""
        for owner in self.owners.values():
            due_times = (ledger.due(owner.state), blocks.due(owner.state))
            if any(due is not None and due <= owner.now for due in due_times):
                owner.ask(Lapse())

    def come_to_rest(self) -> None:
        """Let everything be delivered and every lease end."""
        for _ in range(4):
            self.deliver_all()
            self.wait(timedelta(hours=2))
        self.deliver_all()

    def do(self, what: str, tenant: str, chance: Random) -> None:
        """Do one step of a history."""
        owner, amount = self.owners[tenant], chance.choice([1, 2, 3, 10, 40])
        holds = list(pages.values(owner.state.holds))
        hold = chance.choice(holds) if holds else None
        match what:
            case "reserve":
                self._tried += chance.random() < 0.7  # else it is asked for again
                self.reserve(tenant, f"e{self._tried}", amount, lease=chance.choice([5.0, 60.0]))
            case "extend" if hold is not None:
                self._extend(tenant, hold.reference, hold.slice + 1, amount)
            case "settle" if hold is not None:
                self._settle(owner, hold.reference, chance.randint(0, hold.amount_pico))
            case "void" if hold is not None:
                owner.ask(Void(reference=hold.reference))
            case "again" if self.sent:
                self._asked(chance.choice(self.sent))
            case "wait":
                self._forget(chance, tenant)
                self.wait(timedelta(seconds=chance.choice([0.2, 0.5, 1, 12])))
            case "kill":
                owner.state = owner.replayed()
            case _ if waiting := self.open():
                sender, ask = chance.choice(waiting)
                self.deliver(sender, ask, loses_answer=what == "lose")
            case _:
                pass

    def _settle(self, owner: Owner, where: Reference, cost: int) -> None:
        name = where.execution_id
        owner.ask(settle(name, cost, now=owner.now, at=where.at))

    def _forget(self, chance: Random, tenant: str) -> None:
        """Let leases end, of which some are settled late."""
        owner = self.owners[tenant]
        holds = list(pages.values(owner.state.holds))
        if holds and chance.random() < 0.5:
            hold = chance.choice(holds)
            self.wait(hold.lease_until - owner.now)
            self._settle(owner, hold.reference, chance.randint(0, hold.amount_pico))

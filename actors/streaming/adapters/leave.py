"""Leave to spend on embeddings: money is held before the calls where a hard budget may refuse.

The terms that this process knows say whether one may, so that nobody is asked where none does.
"""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import NamedTuple

import anyio
import msgspec

from bus.codec import encode
from bus.errors import ProblemError, problem
from bus.ports import Bus
from bus.rpc import Owners, command
from bus.subjects import fill
from bus.terms import KnownTerms
from schemas.embeddings import Embed, EmbedWork
from schemas.journal import Mail
from schemas.ledger import (
    ACCOUNT_KEY,
    BILL_SUBJECT,
    Party,
    Reference,
    Reserve,
    Void,
)
from schemas.pricing.deployed import PricedAt, deployed
from schemas.pricing.headers import header_fault
from schemas.pricing.prices import Prices
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.providers import may_take_secret
from schemas.terms import Restriction, restrictions
from schemas.usage import Usage

STEP = 0
"""The steps of executions begin with 1."""

GRACE = timedelta(seconds=60)
"""How long after a request's deadline its usage may still be told."""

ANSWER_SECONDS = 10.0
PAUSE_SECONDS = 0.1
FRAMING_TOKENS = 16
"""What a provider puts around one text, at most."""


class Purse(NamedTuple):
    """Whom to ask for money: the accounts, and the terms that say which tenants have to.

    ``known`` returns once all stored terms are known, and raises ``ProblemError`` where they are
    not: not to know of a budget is no reason to spend.
    """

    accounts: Owners
    terms: KnownTerms
    known: Callable[[], Awaitable[None]]


class Leave:
    """Asks the accounts of ``purse`` for money. ``allows_unpriced`` lets through what has no price.

    The platform's money is only for what may be the operator's spend: ``usual_hosts`` are those to
    which a request takes a secret that it does not name.
    """

    def __init__(
        self,
        bus: Bus,
        purse: Purse,
        prices: Callable[[], Prices],
        *,
        allows_unpriced: bool = False,
        usual_hosts: frozenset[str] = frozenset(),
    ) -> None:
        self._bus = bus
        self._purse = purse
        self._prices = prices
        self._allows_unpriced = allows_unpriced
        self._usual_hosts = usual_hosts

    async def hold(self, work: EmbedWork) -> bool:
        """Hold what an attempt may cost; say whether anything had to be held.

        Raises:
            ProblemError: a budget does not cover it, it has no price, nobody answers, or it is
                not known whether a budget holds.
        """
        await self._purse.known()
        held_by = self._held_by(work)
        if not held_by:
            return False
        body = self._reserve(work, is_platforms=any(each.platform for each in held_by))
        try:
            await self._granted(_mail(work, "reserve", body))
        except ProblemError:
            await self.release(work)
            raise
        return True

    async def _granted(self, mail: Mail) -> None:
        """Ask until the account grants it or refuses; it may have to borrow first."""
        with anyio.move_on_after(ANSWER_SECONDS):
            while True:
                try:
                    await self._purse.accounts.ask(mail, timeout=ANSWER_SECONDS)
                except ProblemError as refused:
                    if refused.problem.code != "unavailable":
                        raise
                    await anyio.sleep(PAUSE_SECONDS)
                else:
                    return
        raise problem("unavailable", "the account of the tenant has not answered", retryable=True)

    async def release(self, work: EmbedWork) -> None:
        """Let go of what is held, or of a question that may still arrive: it is not forgotten."""
        mail = _mail(work, "void", Void(reference=_reference(work)))
        subject = fill(BILL_SUBJECT, tenant=work.tenant)
        await self._bus.outbox.post(subject, encode(mail), message_id=f"{work.tenant}.{mail.id}")

    def _held_by(self, work: EmbedWork) -> list[Restriction]:
        """Return the hard budgets that may refuse: the tenant's, and those of the platform."""
        wanted = work.wanted
        pays = may_take_secret(wanted.provider, wanted.keys, self._usual_hosts)
        found = restrictions(self._purse.terms.of(work.tenant), _party(work))
        return [each for each in found if each.money and (pays or not each.platform)]

    def _reserve(self, work: EmbedWork, *, is_platforms: bool) -> Reserve:
        """Bound an attempt: a byte of a text is at most a token."""
        texts = work.wanted.texts
        tokens = sum(len(text.encode()) + FRAMING_TOKENS for text in texts)
        return Reserve(
            reference=_reference(work),
            party=_party(work),
            amount_pico=self._most(work.wanted, tokens),
            tokens=tokens,
            lease_until=work.deadline + GRACE,
            platform=is_platforms,
        )

    def _most(self, wanted: Embed, tokens: int) -> int:
        """Return what an attempt costs with the dearest of all models it may really ask."""
        pays = may_take_secret(wanted.provider, wanted.keys, self._usual_hosts)
        fault = header_fault(wanted.provider, "provider", is_operators=pays)
        if fault is not None:
            raise ProblemError(fault)
        prices = PricedAt(self._prices(), self._bus.clock())
        models = list(deployed(wanted.provider, prices, answers=False))
        usual = prices.cost(terms_of(models[0]), Usage(input=tokens))
        if isinstance(usual, Problem) and not self._allows_unpriced:
            raise ProblemError(usual)
        return prices.most([terms_of(model) for model in models], [Usage(input=tokens)])


def _party(work: EmbedWork) -> Party:
    return Party(user=work.wanted.user, project=work.wanted.project)


def _reference(work: EmbedWork) -> Reference:
    return Reference(execution_id=work.id, step=STEP, attempt=work.attempt, at=work.at)


def _mail(work: EmbedWork, what: str, body: msgspec.Struct) -> Mail:
    return command(f"{work.id}-{work.attempt}.{what}", work.tenant, ACCOUNT_KEY, body)

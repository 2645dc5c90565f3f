"""What is known of the terms of tenants: from the stored records of their accounts, and told."""

import anyio
import msgspec

from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.ports import Delivery, Transport
from schemas.budgets import EACH
from schemas.ids import PLATFORM, TenantId
from schemas.terms import TERMS_SUBJECT, Restriction, TellTerms, Terms, TermsKnown


class KnownTerms:
    """The newest terms of every tenant. ``usual`` are the operator's, and hold for all of them.

    An account whose record was stored before the operator has set a limit does not name it, so
    that nobody would ask it before its first bill.
    """

    def __init__(self, process: str, usual: tuple[Restriction, ...] = ()) -> None:
        self._process = process
        self._usual = usual
        self._terms: dict[str, Terms] = {}

    def of(self, tenant: TenantId) -> Terms:
        """Return the terms of a tenant, those of the platform among them."""
        known = self._terms.get(tenant)
        terms = known or Terms(tenant=tenant, revision=0)
        if self._usual:
            others = (each for each in terms.restrictions if each not in self._usual)
            terms = msgspec.structs.replace(terms, restrictions=[*self._usual, *others])
        of_all = self._terms.get(PLATFORM)
        if of_all is None or not any(_concerns(each, tenant) for each in of_all.restrictions):
            return terms
        platform = Restriction(money=True, platform=True)
        return msgspec.structs.replace(terms, restrictions=[*terms.restrictions, platform])

    def keep(self, terms: Terms) -> TermsKnown:
        """Hold to terms from now on, unless newer ones are known; say which revision holds."""
        known = self._terms.get(terms.tenant)
        if known is None or known.revision < terms.revision:
            known = self._terms[terms.tenant] = terms
        return TermsKnown(process=self._process, tenant=terms.tenant, revision=known.revision)

    def observe(self, data: bytes) -> None:
        """Take in the stored record of an account."""
        self.keep(decode(Terms, data))

    def __len__(self) -> int:
        return len(self._terms)


def _concerns(restriction: Restriction, tenant: TenantId) -> bool:
    """Say whether one of the platform's, whose projects are tenants, holds for a tenant."""
    return restriction.scope == "global" or restriction.name in (tenant, EACH)


class TermsHearer:
    """Takes in new terms at once, and says so."""

    def __init__(self, known: KnownTerms, transport: Transport) -> None:
        self._known = known
        self._transport = transport
        self._listens = False

    async def run(self) -> None:
        """Listen until cancelled."""
        async with self._transport.subscription(TERMS_SUBJECT, self._told):
            self._listens = True
            await anyio.sleep_forever()

    def missing(self) -> str | None:
        """Say what is lacking until new terms are heard."""
        return None if self._listens else "new terms of accounts are not heard yet"

    async def _told(self, delivery: Delivery) -> None:
        try:
            told = decode(TellTerms, delivery.data)
        except ProblemError:
            return
        known = self._known.keep(told.terms)
        await self._transport.publish(told.answer_to, encode(known))

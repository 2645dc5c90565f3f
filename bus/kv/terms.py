"""The terms of tenants: whom somebody has to ask before he spends, known to every process.

They lie in a bucket without age, one key a tenant, written by the owner of the tenant's account
after its commit. Every process that lets something begin follows the bucket to its end, so that it
asks the account of a tenant with budgets and spares all others the question.
"""

from collections.abc import Sequence

import anyio
import msgspec
import structlog

from bus.codec import decode, encode
from bus.errors import FencedError, ProblemError, UnavailableError
from bus.kv import Bucket, BucketEntry, Followed, Store
from bus.ports import Delivery, Transport
from schemas.budgets import EACH
from schemas.ids import PLATFORM
from schemas.journal import CommandEnvelope
from schemas.terms import (
    TERMS_BUCKET,
    TERMS_SUBJECT,
    KeepTerms,
    NotifyTerms,
    Restriction,
    Terms,
    TermsKept,
    TermsKnown,
)

log = structlog.get_logger()

EVERY_TENANT = "*"
WHAT = "the terms of tenants are"

MOST_TRIES = 8
"""Each time another writer was faster; the next one is mostly the last."""

TERMS = Store(bucket=TERMS_BUCKET, kind=Terms, max_bytes=256 * 1024 * 1024)
"""A thousand tenants with the longest terms there can be, or a million with usual ones."""


def key_of(tenant: str) -> str:
    """Return the key of a tenant: its name, and for the platform's one that no tenant can have.

    Keys take no dollar, and names of tenants no equals sign.
    """
    return tenant.replace("$", "=")


def tenant_of(key: str) -> str:
    """Return whose key it is: the inverse of ``key_of``."""
    return key.replace("=", "$")


# Writing


async def keep(bucket: Bucket[Terms], terms: Terms) -> int:
    """Store terms unless the same or newer ones stand, and return the revision that stands.

    Whoever writes compares first: a former owner of the account changes nothing.

    Raises:
        UnavailableError: not known to be stored.
        ProblemError: ``internal``: what stands cannot be read, so it may be newer.
    """
    key = key_of(terms.tenant)
    for _ in range(MOST_TRIES):
        entry = await bucket.get(key)
        if entry is not None and entry.value.revision >= terms.revision:
            return entry.value.revision
        try:
            await bucket.put(key, terms, expected=entry.revision if entry else 0)
        except FencedError:
            continue
        return terms.revision
    raise UnavailableError(key, "others write it all the time")


class TermsStore:
    """Takes the asks of accounts that want their terms stored, as an owner of entities would."""

    def __init__(self, bucket: Bucket[Terms]) -> None:
        self._bucket = bucket

    async def ask_once(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes] | None:
        """Store what is asked for and answer with what stands; None if that is not known."""
        try:
            return [encode(await self._kept(envelope)) for envelope in envelopes]
        except UnavailableError:
            return None
        except ProblemError as error:
            log.critical(
                "terms.not_stored", tenant=envelopes[0].tenant, error=error.problem.message
            )
            return None

    async def _kept(self, envelope: CommandEnvelope) -> TermsKept:
        wanted = decode(KeepTerms, envelope.body)
        return TermsKept(revision=await keep(self._bucket, wanted.terms))


# Knowing


class KnownTerms:
    """The newest terms of every tenant, as the bucket and letters tell. A watcher of the bucket.

    ``usual`` are the operator's, and hold for all tenants: an account that was last changed before
    the operator has set a limit does not name it, so that nobody would ask it before its first
    bill. Whether all are known that are stored is not said here but by who follows the bucket.
    """

    def __init__(self, process: str, usual: tuple[Restriction, ...] = ()) -> None:
        self._process = process
        self._usual = usual
        self._terms: dict[str, Terms] = {}

    def of(self, tenant: str) -> Terms:
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

    def changed(self, entry: BucketEntry[Terms]) -> None:
        """See ``Watcher.changed``."""
        self.keep(entry.value)

    def removed(self, key: str, revision: int) -> None:
        """Let everybody ask the account: nobody knows what these terms were. It knows itself.

        No process removes terms, so somebody did by hand, or they cannot be read here.
        """
        tenant = tenant_of(key)
        log.error("terms.unreadable", tenant=tenant, bucket_revision=revision)
        known = self._terms.get(tenant)
        # The same revision may be stored again.
        before = known.revision - 1 if known is not None else 0
        asks = [Restriction(money=True)]
        self._terms[tenant] = Terms(tenant=tenant, revision=before, restrictions=asks)

    def cleared(self) -> None:
        """See ``Watcher.cleared``."""
        self._terms.clear()

    def __len__(self) -> int:
        return len(self._terms)


def _concerns(restriction: Restriction, tenant: str) -> bool:
    """Say whether one of the platform's, whose projects are tenants, holds for a tenant."""
    return restriction.scope == "global" or restriction.name in (tenant, EACH)


class TermsHearer:
    """Takes in new terms at once, and says so. ``followed`` says whether the stored ones are known.

    Letters alone would not do for a process that was away, and the bucket alone would not say to
    whoever has changed a rule that it holds everywhere.
    """

    def __init__(self, known: KnownTerms, followed: Followed, transport: Transport) -> None:
        self._known = known
        self._followed = followed
        self._transport = transport
        self._listens = False

    async def run(self) -> None:
        """Listen until cancelled."""
        async with self._transport.subscription(TERMS_SUBJECT, self._told):
            self._listens = True
            await anyio.sleep_forever()

    def not_ready_reason(self) -> str | None:
        """Say what is lacking until new terms are heard and the stored ones are known."""
        return self._followed.not_ready_reason() if self._listens else "new terms are not heard yet"

    async def _told(self, delivery: Delivery) -> None:
        try:
            told = decode(NotifyTerms, delivery.data)
        except ProblemError:
            return
        known = self._known.keep(told.terms)
        await self._transport.publish(delivery.reply, encode(known))

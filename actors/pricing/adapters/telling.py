"""Telling every process that spends the new terms of a tenant, until all hold to them."""

from collections.abc import Callable, Collection

import anyio

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError, UnavailableError, problem
from bus.ids import new_id
from bus.kv import Bucket
from bus.ports import Bus, Delivery
from bus.terms import keep
from bus.waiting import Wakeup
from schemas.fleet import Alive
from schemas.terms import TERMS_SUBJECT, TellTerms, Terms, TermsKnown

SPENDERS = frozenset({"agents"})
"""Actors that decide by the terms that they know whether the account is asked."""

AGAIN_SECONDS = 0.5


class TermsTeller:
    """Tells terms; ``members`` are the processes that live at present."""

    def __init__(
        self,
        bus: Bus,
        bucket: Bucket[Terms],
        timing: Timing,
        members: Callable[[], Collection[Alive]],
    ) -> None:
        self._bus = bus
        self._bucket = bucket
        self._timing = timing
        self._members = members

    async def tell(self, terms: Terms) -> None:
        """Return once these terms are stored and every process that spends holds to them.

        The account itself has them stored, too. Here they are at once: whoever comes second finds
        them, and nobody waits for the other.

        Raises:
            ProblemError: ``unavailable``: the terms stand, but some process has not said so.
        """
        with anyio.move_on_after(self._timing.answer_seconds):
            await self._until_stored(terms)
            await self._until_known(terms)
            return
        raise problem(
            "unavailable", "this holds now, but not every process has said that it knows; ask again"
        )

    async def _until_stored(self, terms: Terms) -> None:
        while terms.revision:
            try:
                await keep(self._bucket, terms)
            except UnavailableError:
                await anyio.sleep(self._timing.work_resend_seconds)
            else:
                return

    async def _until_known(self, terms: Terms) -> None:
        answer_to = f"_cb.sys.terms.{new_id()}"
        known: set[str] = set()
        heard = Wakeup()

        async def hear(delivery: Delivery) -> None:
            try:
                said = decode(TermsKnown, delivery.data)
            except ProblemError:
                return
            if said.tenant == terms.tenant and said.revision >= terms.revision:
                known.add(said.process)
                heard.set()

        letter = encode(TellTerms(terms=terms, answer_to=answer_to))
        async with self._bus.transport.subscription(answer_to, hear):
            while not self._spenders() <= known:
                await self._bus.transport.publish(TERMS_SUBJECT, letter)
                with anyio.move_on_after(AGAIN_SECONDS):
                    while not self._spenders() <= known:
                        await heard.wait(AGAIN_SECONDS)

    def _spenders(self) -> set[str]:
        return {each.process for each in self._members() if each.actor in SPENDERS}

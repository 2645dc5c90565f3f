"""Telling every process that spends the new terms of a tenant, until all hold to them."""

from collections.abc import Callable, Collection, Sequence

import anyio

from bus.codec import encode
from bus.config import Timing
from bus.errors import UnavailableError, problem
from bus.kv import Bucket
from bus.kv.terms import keep
from bus.ports import Bus
from bus.requests.ask_all import Patience, ask_all
from schemas.fleet import Alive
from schemas.terms import TERMS_SUBJECT, NotifyTerms, Terms, TermsKnown

SPENDERS = frozenset({"agents"})
"""Actors that decide by the terms that they know whether the account is asked."""

AGAIN_SECONDS = 0.5


class TermsNotifier:
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

    async def notify(self, terms: Terms) -> None:
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
        def are_known(said: Sequence[TermsKnown]) -> bool:
            return self._spenders() <= {each.process for each in said if _knows(each, terms)}

        transport, question = self._bus.transport, encode(NotifyTerms(terms=terms))
        patience = Patience(again=AGAIN_SECONDS)
        await ask_all(transport, TERMS_SUBJECT, question, TermsKnown, patience, enough=are_known)

    def _spenders(self) -> set[str]:
        return {each.process for each in self._members() if each.actor in SPENDERS}


def _knows(said: TermsKnown, terms: Terms) -> bool:
    return said.tenant == terms.tenant and said.revision >= terms.revision

"""Telling every agents process the new terms of a tenant, until all hold to them."""

from collections.abc import Callable, Collection

import anyio

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError, UnavailableError, problem
from bus.ids import new_id
from bus.ports import Bus, Delivery
from bus.waiting import Wakeup
from schemas.fleet import Alive
from schemas.terms import TERMS_SUBJECT, TellTerms, Terms, TermsKnown

AGENTS = "agents"
AGAIN_SECONDS = 0.5


class TermsTeller:
    """Tells terms; ``members`` are the processes that live at present."""

    def __init__(self, bus: Bus, timing: Timing, members: Callable[[], Collection[Alive]]) -> None:
        self._bus = bus
        self._timing = timing
        self._members = members

    async def tell(self, terms: Terms, record: str) -> None:
        """Return once every agents process holds to these terms, stored at ``record``.

        Raises:
            ProblemError: ``unavailable``: the terms stand, but some process has not said so.
        """
        with anyio.move_on_after(self._timing.answer_seconds):
            await self._until_stored(terms, record)
            await self._until_known(terms)
            return
        raise problem(
            "unavailable", "this holds now, but not every process has said that it knows; ask again"
        )

    async def _until_stored(self, terms: Terms, record: str) -> None:
        while not await self._is_stored(terms, record):  # noqa: ASYNC110  it is written behind
            await anyio.sleep(self._timing.record_delay_seconds)

    async def _is_stored(self, terms: Terms, record: str) -> bool:
        try:
            stored = await self._bus.records.last(record)
        except UnavailableError:
            return False
        return stored is not None and decode(Terms, stored.data).revision >= terms.revision

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
            while not self._agents() <= known:
                await self._bus.transport.publish(TERMS_SUBJECT, letter)
                with anyio.move_on_after(AGAIN_SECONDS):
                    while not self._agents() <= known:
                        await heard.wait(AGAIN_SECONDS)

    def _agents(self) -> set[str]:
        return {each.process for each in self._members() if each.actor == AGENTS}

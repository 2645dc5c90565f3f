"""What the entities of a shard ask of others: sent once committed, and again until answered.

Asking is harmless however often it happens, because the one who is asked knows the command by its
id. An answer comes in as a command like any other, and the event it leads to closes the ask.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import encode
from bus.config import Timing
from bus.crew import Crew
from bus.rpc import Owners, command
from bus.shard.book import Address, Book
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import Letter
from bus.waiting import Wakeup
from schemas.decision import Ask
from schemas.journal import Mail

log = structlog.get_logger()

Ways = Mapping[str, Owners]
"""By the name of an entity, the way to its owners."""

NO_WAYS: Ways = MappingProxyType({})

MOST_AT_ONCE = 256
"""Questions in the air at once: as many as one turn takes commands."""


class _Asked(NamedTuple):
    address: Address
    ask: Ask


class Asker:
    """Asks for the entities of one shard, for as long as it is owned.

    Whoever is silent is asked again after a pause, which doubles until somebody answers.
    """

    def __init__(
        self,
        book: Book,
        fence: Fence,
        inbox: Inbox,
        ways: Ways,
        timing: Timing,
        tasks: TaskGroup,
    ) -> None:
        self._book = book
        self._fence = fence
        self._inbox = inbox
        self._ways = ways
        self._timing = timing
        self._asked: dict[str, _Asked] = {}
        self._crew = Crew(tasks, self._ask, most=MOST_AT_ONCE)
        self._silent: list[str] = []
        self._is_silent = Wakeup()
        self._pause = timing.retry_most_seconds

    def resume(self) -> None:
        """Ask everything that is open in the book of a shard that was just taken over."""
        for address, ask in self._book.open_asks():
            self.put(address, ask)

    def put(self, address: Address, ask: Ask) -> None:
        """Ask what an entity wants to know; its commit must be stored."""
        if ask.id not in self._asked:
            self._asked[ask.id] = _Asked(address, ask)
            self._crew.give(ask.id)

    async def run(self) -> None:
        """Ask again those who did not answer, until cancelled."""
        while True:
            await self._is_silent.wait()
            await anyio.sleep(self._pause)
            self._pause = min(2 * self._pause, self._timing.ask_pause_seconds)
            again, self._silent = self._silent, []
            for name in again:
                self._crew.give(name)

    async def _ask(self, name: str) -> None:
        address, ask = self._asked[name]
        if not self._book.is_open(address, ask):
            del self._asked[name]
            return
        # A former owner need not bother anybody.
        await self._fence.confirm(within=self._timing.request_try_seconds)
        answer = await self._reply(ask)
        if answer is None:
            self._silent.append(name)
            self._is_silent.set()
            return
        del self._asked[name]
        self._pause = self._timing.retry_most_seconds
        self._inbox.put(Letter(self._told(address, ask, answer)))

    async def _reply(self, ask: Ask) -> bytes | None:
        way = self._ways.get(ask.entity)
        if way is None:
            log.error("shard.asks_strangers", entity=ask.entity, ask=ask.id)
            return None
        mail = command(ask.id, ask.tenant, ask.key, ask.command)
        return await way.ask_once(mail)

    def _told(self, address: Address, ask: Ask, answer: bytes) -> Mail:
        body = msgspec.Raw(encode(self._book.entity.answered(ask, answer)))
        return Mail(id=f"answer.{ask.id}", tenant=address[0], key=address[1], body=body)

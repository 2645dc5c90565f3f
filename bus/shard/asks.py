"""What the entities of a shard ask of others: sent once committed, and again until answered.

Asking is harmless however often it happens, because the one who is asked knows the command by its
id. An answer comes in as a command like any other, and the event it leads to closes the ask. What
one turn asks of the same entity travels together, so that one message and one turn serve it all;
what is not urgent waits a moment for that of other turns.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple, Protocol

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup

from bus.codec import decode, encode
from bus.config import Timing
from bus.requests.rpc import PROBLEM_MARK, command
from bus.shard.book import ShardBook
from bus.shard.fence import Fence
from bus.shard.inbox import Inbox
from bus.shard.turn import PendingCommand
from bus.streams.capacity import is_full
from bus.tasks import TaskPool, Wakeup
from schemas.decision import Ask
from schemas.entity import EntityAddress
from schemas.journal import CommandEnvelope
from schemas.problems import Problem
from schemas.replies import ANSWER

log = structlog.get_logger()


class AskRoute(Protocol):
    """The way to who answers what is asked: mostly the owners of an entity's shards."""

    async def ask_once(self, envelopes: Sequence[CommandEnvelope]) -> Sequence[bytes] | None:
        """Return the encoded answers, None if there were none this time."""
        ...


AskRoutes = Mapping[str, AskRoute]
"""By the name of an entity, the way to its owners, or to what stands in their place."""

NO_ROUTES: AskRoutes = MappingProxyType({})

MOST_AT_ONCE = 256
"""Messages in the air at once: as many as one turn takes commands."""

MOST_TOGETHER = 64
"""Questions in one message."""


_Name = tuple[EntityAddress, str]
"""Who asks, and the id of the ask: another entity may use the same id."""

_Gathered = defaultdict[tuple[str, ...], list[_Name]]
"""What is asked, by the entity that is asked."""


class _Asked(NamedTuple):
    """An ask, and the commit that led to it, by the entity that asks and the commit's number."""

    ask: Ask
    cause: str


class Asker:
    """Asks for the entities of one shard, for as long as it is owned.

    Whoever is silent is asked again after a pause, which doubles until somebody answers.
    """

    def __init__(
        self,
        book: ShardBook,
        fence: Fence,
        inbox: Inbox,
        routes: AskRoutes,
        timing: Timing,
        tasks: TaskGroup,
    ) -> None:
        self._book = book
        self._fence = fence
        self._inbox = inbox
        self._routes = routes
        self._timing = timing
        self._asked: dict[_Name, _Asked] = {}
        self._pool = TaskPool(tasks, self._ask, most=MOST_AT_ONCE)
        self._gathering: _Gathered = defaultdict(list)
        self._is_gathering = Wakeup()
        self._silent: list[Sequence[_Name]] = []
        self._is_silent = Wakeup()
        self._pause = timing.retry_most_seconds

    def resume(self) -> None:
        """Ask everything that is open in the book of a shard that was just taken over."""
        self.put(self._book.open_asks())

    def put(self, asked: Iterable[tuple[EntityAddress, Ask]]) -> None:
        """Ask what entities want to know; their commits must be stored."""
        urgent: _Gathered = defaultdict(list)
        for address, ask in asked:
            name = (address, ask.id)
            if name not in self._asked:
                self._asked[name] = _Asked(ask, self._cause(address))
                together = urgent if ask.urgent else self._gathering
                together[ask.entity, ask.tenant, ask.key].append(name)
        self._give(urgent)
        if self._gathering:
            self._is_gathering.set()

    async def gather(self) -> None:
        """Send what is not urgent, all that has come for the same entity, until cancelled."""
        while True:
            await self._is_gathering.wait()
            await anyio.sleep(self._timing.ask_together_seconds)
            gathered, self._gathering = self._gathering, defaultdict(list)
            self._give(gathered)

    async def run(self) -> None:
        """Ask again those who did not answer, until cancelled."""
        while True:
            await self._is_silent.wait()
            await anyio.sleep(self._pause)
            self._pause = min(2 * self._pause, self._timing.ask_pause_seconds)
            again, self._silent = self._silent, []
            for names in again:
                self._pool.give(names)

    def _give(self, gathered: _Gathered) -> None:
        for names in gathered.values():
            for start in range(0, len(names), MOST_TOGETHER):
                self._pool.give(names[start : start + MOST_TOGETHER])

    async def _ask(self, names: Sequence[_Name]) -> None:
        names = [name for name in names if self._is_open(name)]
        if not names:
            return
        # A former owner need not bother anybody.
        await self._fence.confirm(within=self._timing.request_try_seconds)
        answers = await self._reply([self._asked[name] for name in names])
        if answers is None:
            self._silent.append(names)
            self._is_silent.set()
            return
        self._pause = self._timing.retry_most_seconds
        for name, answer in zip(names, answers, strict=True):
            ask = self._asked.pop(name).ask
            self._inbox.put(PendingCommand(self._told(name[0], ask, answer)))

    def _cause(self, address: EntityAddress) -> str:
        """Name the newest commit of who asks; after a takeover the ask may be older than that."""
        tenant, key = address
        return f"{self._book.entity.name}.{tenant}.{key}.{self._book.slots[address].last}"

    def _is_open(self, name: _Name) -> bool:
        is_open = self._book.is_open(name[0], self._asked[name].ask)
        if not is_open:
            del self._asked[name]
        return is_open

    async def _reply(self, asked: Sequence[_Asked]) -> Sequence[bytes] | None:
        """Ask one entity, once: all the questions are for the same."""
        entity = asked[0].ask.entity
        route = self._routes.get(entity)
        if route is None:
            log.error("shard.asks_strangers", entity=entity, ask=asked[0].ask.id)
            return None
        answers = await route.ask_once(
            [command(ask.id, ask.tenant, ask.key, ask.command, cause=cause) for ask, cause in asked]
        )
        # A full journal decides nothing: it is no answer, and what was answered is known by its id.
        return None if answers is None or any(map(_is_put_off, answers)) else answers

    def _told(self, address: EntityAddress, ask: Ask, answer: bytes) -> CommandEnvelope:
        body = msgspec.Raw(encode(self._book.entity.answered(ask, answer)))
        return CommandEnvelope(id=f"{ANSWER}{ask.id}", tenant=address[0], key=address[1], body=body)


def _is_put_off(answer: bytes) -> bool:
    return answer.startswith(PROBLEM_MARK) and is_full(decode(Problem, answer))

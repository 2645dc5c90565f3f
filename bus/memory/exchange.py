"""What carries plain messages between all who are connected to it."""

from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context, copy_context
from functools import lru_cache

import anyio
from anyio.abc import TaskGroup

from bus.memory.mailbox import Mailbox
from bus.memory.store import MemoryStore
from bus.ports import MESSAGE_ID, UNHEARD, Delivery
from bus.subjects import matches

Fate = Callable[[str, str, str], Sequence[float]]
"""What happens to a message: of its subject, sender and receiver, when each copy arrives."""

_matches = lru_cache(maxsize=16_384)(matches)
"""The same few patterns and subjects meet again and again."""

Answer = Callable[[Delivery], None]

NOBODY = {"Status": UNHEARD}


class MemoryExchange:
    """Knows who listens to what, for as long as its context is open.

    Messages arrive at once and in order unless ``fate`` says otherwise. What is published on a
    subject that a stream of ``store`` captures is stored too.
    """

    def __init__(self, store: MemoryStore, fate: Fate | None = None) -> None:
        self.answers: dict[str, tuple[str, Answer]] = {}
        self.tasks: TaskGroup
        self._store = store
        self._fate = fate
        self._mailboxes: list[Mailbox] = []
        self._listening = lru_cache(maxsize=1024)(self._find_listening)
        self._turn = 0
        self._requests = 0
        self._context: Context

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator["MemoryExchange"]:
        """Carry messages while the context is open."""
        self._context = copy_context()
        async with anyio.create_task_group() as self.tasks:
            yield self
            self.tasks.cancel_scope.cancel()

    def publish(self, sender: str, delivery: Delivery) -> None:
        """Store the message where a stream wants it, and bring it to all who listen."""
        message_id = (delivery.headers or {}).get(MESSAGE_ID)
        is_heard = self._store.keep(delivery.subject, delivery.data, message_id=message_id)
        answer = self.answers.get(delivery.subject)
        if answer is not None:
            is_heard = True
            self._send(sender, answer[0], delivery, answer[1])
        for mailbox in self._receivers(delivery.subject):
            is_heard = True
            self._send(sender, mailbox.connection, delivery, mailbox.put)
        if delivery.reply and not is_heard:
            self.publish(sender, Delivery(delivery.reply, b"", headers=NOBODY))

    def listen(self, mailboxes: Iterable[Mailbox]) -> None:
        """Bring messages to these too."""
        self._mailboxes.extend(mailboxes)
        self._listening.cache_clear()

    def forget(self, mailboxes: Iterable[Mailbox]) -> None:
        """Bring no more messages to these."""
        for mailbox in mailboxes:
            self._mailboxes.remove(mailbox)
        self._listening.cache_clear()

    def is_heard(self, subject: str) -> bool:
        """Say whether anybody listens on a subject."""
        return any(self._listening(subject))

    def new_inbox(self) -> str:
        """Return a subject for one answer."""
        self._requests += 1
        return f"_INBOX.memory.{self._requests}"

    def _receivers(self, subject: str) -> Iterator[Mailbox]:
        """Yield all that listen on a subject, of each queue group the one whose turn it is."""
        alone, groups = self._listening(subject)
        yield from alone
        for members in groups:
            self._turn += 1
            yield members[self._turn % len(members)]

    def _find_listening(self, subject: str) -> tuple[list[Mailbox], list[list[Mailbox]]]:
        """Return all that listen on a subject: those on their own, and the queue groups."""
        groups: dict[str, list[Mailbox]] = {}
        for mailbox in self._mailboxes:
            if _matches(mailbox.pattern, subject):
                groups.setdefault(mailbox.queue, []).append(mailbox)
        return groups.pop("", []), list(groups.values())

    def _send(self, sender: str, receiver: str, delivery: Delivery, arrive: Answer) -> None:
        delays = self._fate(delivery.subject, sender, receiver) if self._fate else (0.0,)
        for delay in delays:
            if delay > 0:
                # A message on its way belongs to nobody, not even to a context of its sender.
                context = self._context.copy()
                context.run(self.tasks.start_soon, self._arrive_later, delay, delivery, arrive)
            else:
                arrive(delivery)

    async def _arrive_later(self, delay: float, delivery: Delivery, arrive: Answer) -> None:
        await anyio.sleep(delay)
        arrive(delivery)

"""Whether this process still owns a shard: its appends show it, and the journal can be asked."""

from functools import partial
from math import inf

import anyio

from bus.codec import decode
from bus.errors import FencedError, ProblemError
from bus.ports import Journal
from bus.shard.append import RETRY_SECONDS, append
from bus.tasks import loop_clock, until_answered
from schemas.journal import Commit


class Fence:
    """The end of a shard's journal as its owner knows it.

    An owner whose appends are refused has lost its shard. One that appends nothing would never
    learn that another took it over, perhaps let go of it again, and knows more. ``subject`` is the
    shard's in the journal, ``epoch`` that of this owner.
    """

    def __init__(self, journal: Journal, subject: str, epoch: int, sequence: int) -> None:
        self._journal = journal
        self.subject = subject
        self.epoch = epoch
        self._shown = -inf
        self._time = loop_clock()
        self._asking = anyio.Lock(fast_acquire=True)
        self.is_down = False
        self.sequence = sequence

    async def append(self, commit: Commit) -> None:
        """Store a commit as the next one.

        Raises:
            FencedError: the shard has another owner.
            FullError: there is no room for it, and it is not stored.
        """
        began = self._time()
        self.sequence = await append(self._journal, self.subject, commit, self.sequence)
        self._shown = began

    def was_ours(self, *, within: float) -> bool:
        """Say whether the shard is known to have been ours ``within`` the last seconds."""
        return self._shown >= self._time() - within

    async def confirm(self, *, within: float = 0.0) -> None:
        """Return if the shard was ours at most ``within`` seconds ago.

        Until the bus answers, this waits.

        Raises:
            FencedError: the shard has another owner.
        """
        asked_at = self._time()
        if self._shown < asked_at - within:
            async with self._asking:
                if self._shown < asked_at - within:
                    await self._ask()

    async def holds(self) -> bool:
        """Say whether the shard is still ours; never again once it was let go."""
        if not self.is_down:
            try:
                await self.confirm()
            except FencedError:
                self.is_down = True
        return not self.is_down

    async def _ask(self) -> None:
        began = self._time()
        newest = await until_answered(partial(self._journal.last, self.subject), RETRY_SECONDS)
        if newest is None or _epoch(newest.data) != self.epoch:
            raise FencedError(self.subject, self.sequence)
        self._shown = began


def _epoch(data: bytes) -> int | None:
    try:
        return decode(Commit, data).epoch
    except ProblemError:
        return None

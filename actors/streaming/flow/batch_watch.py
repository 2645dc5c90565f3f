"""Following batches: one look at a time for all that wait for the same one."""

from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
import structlog
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.http_call import HttpProvider
from actors.streaming.adapters.posting import HttpPosting
from actors.streaming.core.batches.form import (
    UNREADABLE,
    BatchForm,
    Item,
    Step,
    missing,
    pause,
    results,
)
from actors.streaming.core.errors.faults import ProviderFaultError, fail_on
from actors.streaming.core.resilience.routes import keyed
from bus.errors import ProblemError
from schemas.problems import Problem
from schemas.providers import Provider

log = structlog.get_logger()

_BROKEN = Problem(code="internal", message="The batch could not be followed.", retryable=True)
_REPLACED = Problem(
    code="unavailable", message="Another attempt waits for this batch now.", retryable=True
)

STEP_SECONDS = 60.0
"""For one request about a batch, its files included."""

STEP_BYTES = 256 * 1024
"""Of an answer that says how a batch stands, or what it is called."""

FILE_BYTES = 64 * 1024 * 1024
"""Of the results of a batch: a hundred of the longest answers."""


class WantedBatch(NamedTuple):
    """A request that is to be in a batch.

    ``key`` is that of its ticket, ``target`` is the same for requests that may share a batch,
    ``secret`` the name of the key it is made with.
    """

    key: str
    target: str
    secret: str | None
    item: Item
    form: BatchForm
    http: HttpProvider
    provider: Provider
    context: CallContext


class Placed(NamedTuple):
    """The batch a request is in, the key it was made with, and whether it is the only one."""

    batch: str
    secret: str | None
    alone: bool


async def stepped(
    wanted: WantedBatch, secret: str | None, step: Step, *, most: int = STEP_BYTES
) -> bytes:
    """Make a request about a batch, with the key the batch was made with.

    The answer has at most ``most`` bytes.

    Raises:
        ProviderFaultError: the provider refused, broke off or fell silent.
        ProblemError: the request must not be sent there.
    """
    provider = keyed(wanted.provider, secret)
    posting = HttpPosting(wanted.http, provider, wanted.context, patience=STEP_SECONDS, most=most)
    return await posting.stepped(step)


@dataclass(slots=True)
class _Waiter:
    ready: anyio.Event = field(default_factory=anyio.Event)
    found: bytes | Problem | None = None
    failed: Problem | None = None

    def tell(self, found: bytes | Problem | None, failed: Problem | None = None) -> None:
        self.found, self.failed = found, failed
        self.ready.set()


class _Watch:
    """All that wait for one batch, by their custom ids."""

    def __init__(self, wanted: WantedBatch, placed: Placed) -> None:
        self._wanted = wanted
        self._placed = placed
        self.waiters: dict[str, _Waiter] = {}

    async def follow(self) -> None:
        """Look until the batch has ended and everybody has heard, or nobody waits any more."""
        waited = wait = 0.0
        while self.waiters:
            wait = max(wait, pause(waited))
            await anyio.sleep(wait)
            waited, wait = waited + wait, 0.0
            try:
                if self.waiters:
                    await self._look()
            except (ProviderFaultError, ProblemError) as error:
                wait = error.problem.retry_after or 0.0
                if not error.problem.retryable:
                    self.dismiss(error.problem)

    def dismiss(self, problem: Problem) -> None:
        """Tell everybody that the batch cannot be followed."""
        for waiter in self.waiters.values():
            waiter.tell(None, problem)

    async def _look(self) -> None:
        wanted, placed = self._wanted, self._placed
        body = await stepped(wanted, placed.secret, wanted.form.look(placed.batch))
        progress = wanted.form.read_progress(placed.batch, body)
        if not progress.ended:
            return
        present = dict(self.waiters)
        for step in progress.results:
            content = await stepped(wanted, placed.secret, step, most=FILE_BYTES)
            await self._hand_out(content, present)
        for waiter in present.values():
            waiter.tell(missing(progress))

    async def _hand_out(self, content: bytes, present: dict[str, _Waiter]) -> None:
        """Tell those present their results; the first counts where a file has one twice.

        Raises:
            ProviderFaultError: the content is no file, but an error under a status of success.
        """
        form, heard = self._wanted.form, False
        for found in results(form, content, frozenset(present)):
            waiter = present.pop(found[0], None) if found is not None else None
            if found is not None and waiter is not None:
                waiter.tell(found[1])
                heard = True
            await checkpoint()
        if not heard and form.read_line(content) is None:
            fail_on(content)


class Watches:
    """The batches of a process that somebody waits for."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._by_batch: dict[tuple[str, str], _Watch] = {}

    async def result(self, wanted: WantedBatch, placed: Placed) -> bytes | Problem:
        """Wait for a result.

        Raises:
            ProviderFaultError: the batch cannot be followed.
        """
        name = (wanted.target, placed.batch)
        watch = self._by_batch.get(name)
        if watch is None:
            watch = self._by_batch[name] = _Watch(wanted, placed)
            self._tasks.start_soon(self._follow, name, watch)
        before = watch.waiters.get(wanted.item.custom_id)
        waiter = watch.waiters[wanted.item.custom_id] = _Waiter()
        if before is not None:
            before.tell(None, _REPLACED)
        try:
            await waiter.ready.wait()
        finally:
            if watch.waiters.get(wanted.item.custom_id) is waiter:
                del watch.waiters[wanted.item.custom_id]
        if waiter.found is None:
            raise ProviderFaultError(waiter.failed or UNREADABLE)
        return waiter.found

    def dismiss(self, problem: Problem) -> None:
        """Tell everybody who waits to go."""
        for watch in self._by_batch.values():
            watch.dismiss(problem)

    async def _follow(self, name: tuple[str, str], watch: _Watch) -> None:
        try:
            await watch.follow()
        except Exception as error:  # noqa: BLE001  one batch must not take the others down with it
            # Without its traceback: it may quote what the provider has answered.
            log.error("batches.crashed", batch=name[1], error=type(error).__name__)  # noqa: TRY400
            watch.dismiss(_BROKEN)
        finally:
            del self._by_batch[name]

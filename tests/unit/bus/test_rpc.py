"""Asking an owner: in this process where it is here, over the bus where it is not."""

from collections.abc import AsyncGenerator, Callable

import msgspec
import pytest

from bus.codec import decode, encode
from bus.config import Timing
from bus.errors import ProblemError
from bus.memory import MemoryProcess, memory_bus
from bus.ports import Delivery
from bus.requests.rpc import MOST_TOGETHER_BYTES, Owners, command
from schemas.journal import CommandEnvelope
from schemas.problems import Problem
from schemas.work import Settled
from tests.virtual import VIRTUAL_TIME, Backend

TIMING = Timing(request_try_seconds=0.05, retry_least_seconds=0.001, retry_most_seconds=0.002)
ANSWER = encode(Settled(accepted=True))


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


@pytest.fixture
async def bus() -> AsyncGenerator[MemoryProcess]:
    async with memory_bus(TIMING) as world, world.process() as process:
        yield process


class Owner:
    """An owner in this process that answers all but the first ``deaf`` commands."""

    def __init__(self, *, here: bool = True, deaf: int = 0) -> None:
        self.here = here
        self.deaf = deaf
        self.heard: list[CommandEnvelope] = []

    def offer(self, shard: int, envelope: CommandEnvelope, answer: Callable[[bytes], None]) -> bool:
        assert shard == 0
        if self.here:
            self.heard.append(envelope)
            if len(self.heard) > self.deaf:
                answer(ANSWER)
        return self.here


def envelope() -> CommandEnvelope:
    return command("id", "acme", "key", Settled(accepted=True), fresh=True)


async def test_an_owner_in_this_process_is_asked_directly(bus: MemoryProcess):
    owner = Owner()
    owners = Owners(bus.transport, "thing", 1, TIMING, nearby=owner.offer)
    assert await owners.ask(envelope(), timeout=5) == ANSWER
    assert owner.heard == [envelope()]


async def test_a_command_that_was_not_answered_is_sent_again_as_one_that_may_be_known(
    bus: MemoryProcess,
):
    owner = Owner(deaf=1)
    owners = Owners(bus.transport, "thing", 1, TIMING, nearby=owner.offer)
    assert await owners.ask(envelope(), timeout=5) == ANSWER
    assert [heard.fresh for heard in owner.heard] == [True, False]


async def test_an_owner_elsewhere_is_asked_over_the_bus(bus: MemoryProcess):
    heard: list[CommandEnvelope] = []

    async def answer(delivery: Delivery) -> None:
        heard.append(decode(CommandEnvelope, delivery.data))
        await bus.transport.publish(delivery.reply, ANSWER)

    owners = Owners(bus.transport, "thing", 1, TIMING, nearby=Owner(here=False).offer)
    async with bus.transport.subscription("_cb.cmd.thing.0", answer):
        assert await owners.ask(envelope(), timeout=5) == ANSWER
    assert [(each.id, each.key) for each in heard] == [("id", "key")]


async def test_without_an_owner_the_command_is_refused_as_unavailable(bus: MemoryProcess):
    owners = Owners(bus.transport, "thing", 1, TIMING)
    with pytest.raises(ProblemError) as caught:
        await owners.ask(envelope(), timeout=0.1)
    assert isinstance(caught.value.problem, Problem)
    assert (caught.value.problem.code, caught.value.problem.retryable) == ("unavailable", True)


async def test_commands_that_are_too_much_for_one_message_are_asked_one_by_one(bus: MemoryProcess):
    owner = Owner()
    owners = Owners(bus.transport, "thing", 1, TIMING, nearby=owner.offer)
    large = msgspec.Raw(b'"' + b"x" * (MOST_TOGETHER_BYTES // 2) + b'"')
    wanted = [msgspec.structs.replace(envelope(), body=large) for _ in range(3)]

    assert await owners.ask_once(wanted) == [ANSWER] * 3
    assert owner.heard == wanted

    owner.deaf = 5
    assert await owners.ask_once(wanted) is None

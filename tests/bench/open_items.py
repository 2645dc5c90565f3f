"""What a turn costs of an entity with 100,000 open items, beside one with 10."""

import gc
import time
from datetime import UTC, datetime

from bus.requests.rpc import command
from bus.shard.book import ShardBook
from bus.shard.turn import PendingCommand, take_turn
from schemas.problems import Problem
from schemas.work import Done, WorkFailure
from tests.bench.rows import Row
from tests.hub import HERE, HUB, Command, Start

NAME = "open-items"
MANY, FEW = 100_000, 10
TURNS = 200
BEGAN = datetime(2026, 6, 1, tzinfo=UTC)
BUSY = Problem(code="provider_overloaded", message="later", retryable=True)


async def measure() -> list[Row]:
    """Take turns of two entities: one item ends, one fails and waits, one begins."""
    many, few = turn_ms(MANY), turn_ms(FEW)
    return [
        Row(NAME, f"turn of an entity with {MANY:,} open items", many, "ms", most=1),
        Row(NAME, f"the same beside one with {FEW}", many, "ms", beside=few),
    ]


def turn_ms(items: int, turns: int = TURNS) -> float:
    """Return how long a turn of three commands takes at the median, in milliseconds."""
    book = ShardBook(HUB)
    _turn(book, Start(works=[f"w{number}" for number in range(items)]))
    taken: list[float] = []
    gc.disable()
    for number in range(turns):
        work, other = f"w{2 * number}", f"w{2 * number + 1}"
        began = time.process_time()
        _turn(
            book,
            Done(work=work, attempt=1),
            WorkFailure(work=other, attempt=1, problem=BUSY),
            Start(works=[f"w{items + 2 * number}", f"w{items + 2 * number + 1}"]),
        )
        taken.append(time.process_time() - began)
    gc.enable()
    return sorted(taken)[turns // 2] * 1000


def _turn(book: ShardBook, *commands: Command) -> None:
    envelopes = [command("", HERE.tenant, HERE.key, each) for each in commands]
    take_turn(book, [PendingCommand(envelope) for envelope in envelopes], BEGAN)
    book.n += 1

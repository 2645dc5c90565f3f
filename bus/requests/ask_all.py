"""Asking every process of the fleet, and gathering what they answer.

The question goes to a subject on which they all listen, and each answers to the reply subject,
which is this inquiry's alone. Nobody knows how many will answer: whoever asks says when it is
enough, or waits.
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import NamedTuple, TypeVar

import anyio

from bus.codec import decode
from bus.errors import ProblemError
from bus.ids import new_id
from bus.ports import Delivery, Transport
from bus.tasks import Wakeup

T = TypeVar("T")

Enough = Callable[[Sequence[T]], bool]
"""Says whether the answers that came so far are all that is waited for."""


class Patience(NamedTuple):
    """How many seconds are waited in all, and at least, whoever has answered.

    The question is sent ``again`` each so many, for processes that have come or were away.
    """

    seconds: float = inf
    least: float = 0
    again: float = inf


def never(_: Sequence[object]) -> bool:
    """Wait for as long as is given, since anybody may still answer."""
    return False


async def ask_all(
    transport: Transport,
    subject: str,
    question: bytes,
    kind: type[T],
    patience: Patience,
    *,
    enough: Enough[T] = never,
) -> list[T]:
    """Return the answers that came until they are ``enough``, or for as long as is waited.

    Nothing is sent where no answer is enough. One that cannot be read, of a process of another
    version, is left out.
    """
    answers: list[T] = []
    answered = Wakeup()

    async def hear(delivery: Delivery) -> None:
        try:
            answers.append(decode(kind, delivery.data))
        except ProblemError:
            return
        answered.set()

    answer_to = f"_cb.sys.answer.{new_id()}"
    async with transport.subscription(answer_to, hear):
        least = anyio.current_time() + patience.least
        again = -inf
        with anyio.move_on_after(patience.seconds):
            while (now := anyio.current_time()) < least or not enough(answers):
                if now >= again:
                    await transport.publish(subject, question, reply=answer_to)
                    again = now + patience.again
                wake = min(again, least) if now < least else again
                await answered.wait(None if wake == inf else wake - now)
    return answers

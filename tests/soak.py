"""Many attempts at a provider that fails in every way: what must hold of each, and of all together.

Each attempt must end before its deadline and a little; in a whole answer, or in a typed problem
with the usage of what was begun. A cut answer must be whole after another attempt at the fallback.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import msgspec

from actors.streaming.flow.generation import Generator
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.llm import ChatMessage, GenerateRequest
from schemas.policy import Fallback, Policy
from schemas.providers import Custom
from schemas.streams import ContentChunk, StreamEvent
from tests.faulty_provider import FAULTS, WHOLE

DEADLINE_SECONDS = 2.0
SOUND_SECONDS = 10.0
"""An attempt at a provider that is well must not end by its deadline, however busy the machine."""

SLACK_SECONDS = 10.0
"""How much a busy machine may add before an attempt counts as hanging."""

FREE = frozenset({"storm", "overloaded", "broken"})
"""Refusals cost nothing."""


def now() -> datetime:
    """Return the time, as the generator is told it."""
    return datetime.now(UTC)  # noqa: TID251  a soak runs in real time


@dataclass
class Soak:
    """The tally of attempts; ``wrong`` says what did not hold."""

    generator: Generator
    base_url: str
    ended: Counter[str] = field(default_factory=Counter[str])
    wrong: list[str] = field(default_factory=list[str])

    async def run(self, requests: range, *, at_once: int) -> None:
        """Run the attempts of these numbers, so many at a time."""
        room = anyio.CapacityLimiter(at_once)

        async def one(number: int) -> None:
            async with room:
                await self._one(number)

        async with anyio.create_task_group() as tasks:
            for number in requests:
                tasks.start_soon(one, number)

    async def _one(self, number: int) -> None:
        kind = FAULTS[number % len(FAULTS)]
        item = self._work(f"{kind}.{number}", number)
        try:
            with anyio.fail_after(DEADLINE_SECONDS + SLACK_SECONDS):
                result, text = await self._attempt(item)
                self._judge(kind, result, text)
                if isinstance(result, FailGeneration) and result.next_place is not None:
                    again = msgspec.structs.replace(item, attempt=2, place=result.next_place)
                    result, text = await self._attempt(again)
                    self._judge(f"{kind}, again", result, text)
        except TimeoutError:
            self.wrong.append(f"{kind}: an attempt hangs")

    async def _attempt(self, item: GenerateWork) -> tuple[FinishGeneration | FailGeneration, str]:
        events: list[StreamEvent] = []

        async def emit(batch: list[StreamEvent]) -> None:
            events.extend(batch)

        result = await self.generator.run(item, emit)
        text = "".join(each.content for each in events if isinstance(each, ContentChunk))
        return result, text

    def _judge(self, kind: str, result: FinishGeneration | FailGeneration, text: str) -> None:
        if isinstance(result, FinishGeneration):
            self.ended[f"{kind}: answered at {result.place}"] += 1
            if result.answer.text != text or text != WHOLE:
                self.wrong.append(f"{kind}: the answer is not whole")
            return
        self.ended[f"{kind}: {result.problem.code}"] += 1
        if text and (result.usage is None or result.usage.quality == "exact"):
            self.wrong.append(f"{kind}: what was published is not counted as cut")
        if result.usage is None and kind not in FREE and result.problem.code != "unavailable":
            self.wrong.append(f"{kind}: what was begun is not counted")

    def _work(self, model: str, number: int) -> GenerateWork:
        """Every other attempt has a fallback that is well."""
        well = Fallback(provider=Custom(model=f"well.{number % 7}", base_url=self.base_url))
        policy = Policy(fallbacks=[well] if number // len(FAULTS) % 2 else [])
        provider = Custom(model=model, base_url=self.base_url)
        seconds = SOUND_SECONDS if model.startswith("well.") else DEADLINE_SECONDS
        return GenerateWork(
            execution_id=f"e{number}",
            tenant="acme",
            step=1,
            attempt=1,
            segment=1,
            deadline=now() + timedelta(seconds=seconds),
            request=GenerateRequest(
                provider=provider, messages=[ChatMessage(role="user", content="Hello")]
            ),
            policy=policy,
        )

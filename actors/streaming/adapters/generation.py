"""One attempt at one answer: ask the provider, publish what arrives, report how it ended."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.adapters.providers import Providers
from actors.streaming.adapters.providers.base import ModelCall
from actors.streaming.core.faults import ProviderFaultError
from actors.streaming.core.sequencer import Sequencer
from bus.ports import Clock
from schemas.lifecycle import FailGeneration, FinishGeneration, GenerateWork
from schemas.problems import Problem
from schemas.streams import StreamEvent

Emit = Callable[[list[StreamEvent]], Awaitable[None]]
"""Publishes events in order. While it waits nothing is read from the provider, and what arrives
meanwhile comes as one event: a full window makes events fewer and larger, never lost or late."""

_OUT_OF_TIME = Problem(code="timeout", message="The execution's time is over.")


class Generator:
    """Runs attempts, any number at a time, over the providers of a process."""

    def __init__(self, providers: Providers, clock: Clock) -> None:
        self._providers = providers
        self._clock = clock

    async def run(self, work: GenerateWork, emit: Emit) -> FinishGeneration | FailGeneration:
        """Generate one answer and return the command that reports it to the execution.

        The first event says what is being asked; then there is one text event a read, and one event
        a tool call. Ends by the work's deadline. Cancelling closes the provider's connection at
        once.
        """
        started_at = self._clock()
        provider = self._providers[type(work.request.provider)]
        call = provider.call(work.request, CallContext(work.tenant, work.attempt))
        sequencer = Sequencer(
            work.execution_id, segment=work.segment, step=work.step, attempt=work.attempt
        )
        await emit([sequencer.thinking(provider.status(work.request), started_at)])
        problem = await self._play(call, sequencer, emit, work.deadline)
        if problem is None:
            return FinishGeneration(
                step=work.step,
                attempt=work.attempt,
                answer=call.answer(),
                deltas=sequencer.deltas,
                started_at=started_at,
            )
        return FailGeneration(
            step=work.step,
            attempt=work.attempt,
            problem=problem,
            deltas=sequencer.deltas,
            started_at=started_at,
            usage=call.spent(),
        )

    async def _play(
        self, call: ModelCall, sequencer: Sequencer, emit: Emit, deadline: datetime
    ) -> Problem | None:
        """Publish the call's deltas to its end. Returns what went wrong, None in success."""
        seconds = max((deadline - self._clock()).total_seconds(), 0)
        with anyio.move_on_after(seconds) as scope:
            try:
                async with call:
                    while (deltas := await call.read()) is not None:
                        if deltas:
                            await emit(sequencer.events(deltas, self._clock()))
            except ProviderFaultError as error:
                return error.problem
        return _OUT_OF_TIME if scope.cancelled_caught else None

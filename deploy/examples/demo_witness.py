"""What a client sees of one execution: its stream, live and read later, and its stored record."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import anyio
import msgspec
from demo_fleet import DemoError
from demo_review import Review
from demo_screen import DIM, YELLOW, Screen

from bus.client import Client
from bus.codec import decode
from bus.connection import NatsTransport
from bus.jetstream.reading import StreamReader
from bus.ports import Delivery
from schemas.assembly import Assembly
from schemas.executions import ENDED, RECORD_SUBJECT, ExecutionRecord
from schemas.streams import (
    STREAM_SUBJECT,
    TERMINAL_TYPES,
    AttemptRestarted,
    ContentChunk,
    ReadStream,
    StreamEvent,
    StreamPage,
    Thinking,
)

TENANT = "local"
RECORD_STREAM = "EXECUTIONS"

MIDWAY_CHUNKS = 20
"""Pieces of the answer after which the demo strikes: it has begun and is far from its end."""

RECORD_SECONDS = 10.0
POLL_SECONDS = 0.05


class Witness:
    """Shows the live events of an execution and remembers what is to be judged later."""

    def __init__(self, screen: Screen, execution_id: str) -> None:
        self.execution_id = execution_id
        self.live = Assembly()
        self.ends = 0
        self.restarts: list[AttemptRestarted] = []
        self.silent_since = 0.0
        self.midway = anyio.Event()
        self.ended = anyio.Event()
        self._chunks = 0
        self._screen = screen

    @asynccontextmanager
    async def watching(self, transport: NatsTransport) -> AsyncGenerator[None]:
        """Follow the stream while the context is open, as any subscriber of the subject could."""
        subject = _fill(STREAM_SUBJECT, self.execution_id)
        async with transport.subscription(subject, self._take):
            yield

    async def _take(self, delivery: Delivery) -> None:
        event = decode(cast("type[StreamEvent]", StreamEvent), delivery.data)
        self.ends += isinstance(event, TERMINAL_TYPES)
        if self.live.add(event):
            self._show(event)

    def _show(self, event: StreamEvent) -> None:
        match event:
            case ContentChunk():
                self._screen.token(event.content)
                self._chunks += 1
                if self._chunks == MIDWAY_CHUNKS:
                    self.midway.set()
            case Thinking():
                self._screen.say(f"thinking: {event.status}", colour=DIM)
            case AttemptRestarted():
                self.restarts.append(event)
                silence = anyio.current_time() - self.silent_since
                dropped = f"segment {event.dropped_segment} is void: {event.reason}"
                told = f"attempt_restarted after {silence:.1f} s: {dropped}"
                self._screen.say(told, colour=YELLOW)
            case _ if isinstance(event, TERMINAL_TYPES):
                self._screen.say(f"{event.__struct_config__.tag}", colour=YELLOW)
                self.ended.set()
            case _:
                return


async def stored_stream(client: Client, execution_id: str) -> Assembly:
    """Read the stream from its beginning, as a client does that comes late."""
    assembly, after, more = Assembly(), None, True
    while more:
        wanted = ReadStream(execution_id=execution_id, after=after)
        page = cast("StreamPage", await client.request(TENANT, wanted))
        for event in page.events:
            assembly.add(event)
        after, more = page.next, page.more
    return assembly


async def stored_record(transport: NatsTransport, execution_id: str) -> ExecutionRecord:
    """Read the execution's record from JetStream, without asking any actor.

    Raises:
        DemoError: there is none of an ended execution.
    """
    reader, subject = StreamReader(transport), _fill(RECORD_SUBJECT, execution_id)
    with anyio.move_on_after(RECORD_SECONDS):
        while True:
            for stored in await reader.read_subject(RECORD_STREAM, subject, limit=1):
                record = decode(ExecutionRecord, stored.data)
                if record.status in ENDED:
                    return record
            await anyio.sleep(POLL_SECONDS)
    raise DemoError(f"no record of an ended execution on {subject} after {RECORD_SECONDS:g} s")


def observed(witness: Witness, late: Assembly, record: ExecutionRecord) -> list[tuple[str, bool]]:
    """Judge: each statement, and whether it holds."""
    live = witness.live
    return [
        ("the first attempt was dropped, and the stream said so", len(witness.restarts) == 1),
        ("exactly one terminal event", witness.ends == 1 and live.terminal is not None),
        ("nothing is missing in the stream", not live.gaps() and not late.gaps()),
        ("the text of the live stream is the stored output", live.text == record.output),
        ("read again from the start, the stream has the same text", late.text == live.text),
        ("the output is JSON of the agent's schema", _is_review(record.output)),
        (
            "the record in JetStream says COMPLETED after 2 attempts",
            (record.status, record.attempts) == ("COMPLETED", 2),
        ),
    ]


def _is_review(output: str | None) -> bool:
    try:
        msgspec.json.decode(output or "", type=Review)
    except msgspec.DecodeError:
        return False
    return True


def _fill(template: str, execution_id: str) -> str:
    return template.format(tenant=TENANT, execution_id=execution_id)

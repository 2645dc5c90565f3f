"""The live stream of an execution: its events, and the cursor (segment, sequence) of each."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from schemas.base import Message, Question, Value
from schemas.ids import END, ExecutionId
from schemas.llm import AnswerWarning, ToolCall
from schemas.problems import Problem
from schemas.usage import Usage

STREAM_SUBJECT = "cb.{tenant}.stream.{execution_id}"

CURSOR_PATTERN = r"^[0-9]{1,9}\.[0-9]{1,12}" + END


MOST_PROGRESS = 1_000_000
"""Events of progress that one attempt at a call may tell."""

_MOST_ATTEMPTS = 1000


def first_progress(place: int, attempt: int) -> int:
    """Return the sequence from which on an attempt at the call of this place (from 1) tells.

    No two attempts of a step share one, nor do they with what the model has said.
    """
    return (place * _MOST_ATTEMPTS + attempt % _MOST_ATTEMPTS) * MOST_PROGRESS


class StreamMessage(Message, omit_defaults=True):
    """What all stream events carry. ``sequence`` counts from 0 without gaps within a segment.

    ``step`` and ``attempt`` are absent on events that belong to the whole execution.
    """

    SUBJECT: ClassVar[str | None] = STREAM_SUBJECT

    execution_id: ExecutionId
    segment: int
    sequence: int
    at: datetime
    step: int | None = None
    attempt: int | None = None

    @property
    def cursor(self) -> str:
        """The place of this event: ``<segment>.<sequence>``."""
        return f"{self.segment}.{self.sequence}"


class Thinking(StreamMessage, tag="thinking"):
    """What the agent is doing, for a person to read.

    ``until`` says that it waits, and when it goes on. The owner of the execution says so in a
    segment of its own; where it is a worker that waits, it stands in the segment of the attempt.
    """

    status: str
    until: datetime | None = None


class ThinkingChunk(StreamMessage, tag="thinking_chunk"):
    """A piece of the model's reasoning."""

    content: str


class ContentChunk(StreamMessage, tag="content_chunk"):
    """A piece of the answer."""

    content: str


class ToolCalled(StreamMessage, tag="tool_call"):
    """The model asks for a tool. ``arguments`` is the parsed JSON, or the raw text if malformed."""

    call_id: str
    tool_name: str
    arguments: Any


LogLevel = Literal["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
"""How severe a log message is, as syslog tells it (RFC 5424)."""


class ToolProgressed(StreamMessage, tag="tool_progress"):
    """How far a tool has come, told by the process that calls it; ``total`` is not always known.

    With a ``level`` the message is what its server has logged.

    It stands in the segment in which the model has asked for the tool, from ``first_progress`` on.
    Calls run side by side, so readers take it as it comes: it has no place in the cursors' order.
    ``child`` is the execution that the call runs, where it has begun one: its stream tells more.
    """

    call_id: str
    tool_name: str
    progress: float
    total: float | None = None
    message: Annotated[str, msgspec.Meta(max_length=1000)] = ""
    level: LogLevel | None = None
    child: ExecutionId | None = None


class ToolReturned(StreamMessage, tag="tool_result"):
    """A tool's result, or why there is none, as the model is told; the beginning of a long one.

    ``outcome`` is that of the record. The owner of the execution says so in a segment of its own.
    ``child`` is the execution that the call has run, if any, and ``cost`` what that has cost, in
    pico-dollars.
    """

    call_id: str
    tool_name: str
    outcome: str
    is_error: bool = False
    content: str = ""
    truncated: bool = False
    child: ExecutionId | None = None
    cost: int | None = None


class ApprovalRequested(StreamMessage, tag="approval_requested"):
    """A tool waits until ``until`` for ``executions.approve`` or ``executions.reject``.

    ``arguments`` is the JSON text as the model wrote it, or its beginning.
    """

    call_id: str
    tool_name: str
    arguments: str
    until: datetime


class AttemptRestarted(StreamMessage, tag="attempt_restarted"):
    """All events of ``dropped_segment`` are void; a new attempt follows in a later segment."""

    dropped_segment: int
    reason: str


class Completed(StreamMessage, tag="completed"):
    """The end, in success. ``cost`` is in pico-dollars, None where nothing priced it.

    ``cached`` says that an earlier answer was given again and nobody was asked. A plain generation,
    which no agent makes, has its ``text`` under that name as well. ``warnings`` are those of the
    record.
    """

    final_response: str
    finish_reason: str
    usage: Usage
    cost: int | None = None
    reasoning: str = ""
    tool_calls: list[ToolCall] = []
    model_served: str | None = None
    cached: bool = False
    text: str | None = None
    warnings: list[AnswerWarning] = []


class Failed(StreamMessage, tag="failed"):
    """The end, in failure or by timeout."""

    error: Problem


class Cancelled(StreamMessage, tag="cancelled"):
    """The end, because someone asked for it."""

    reason: str


class WorkflowMove(Value, omit_defaults=True):
    """One thing that has happened in an instance of a workflow, in a place or at a transition.

    ``began`` is the execution or instance that an action has begun, ``until`` the end of its time.
    A person is asked with ``title``. What an action writes to the stream has the type ``event`` and
    ``fields``.
    """

    what: Literal[
        "moved",
        "fired",
        "put",
        "timed_out",
        "begun",
        "ended",
        "failed",
        "put_off",
        "paused",
        "asked",
        "emitted",
        "wrap_up",
    ]
    transition: str | None = None
    place: str | None = None
    tokens: list[str] = []
    firing: str | None = None
    began: str | None = None
    until: datetime | None = None
    title: str = ""
    assignee: str | None = None
    event: str | None = None
    fields: dict[str, Any] = {}
    problem: Problem | None = None


class WorkflowTurned(StreamMessage, tag="workflow_turned"):
    """A turn of an instance of a workflow, in a segment of its own: what has happened, in order."""

    turn: int
    moves: list[WorkflowMove]


StreamEvent = (
    Thinking
    | ThinkingChunk
    | ContentChunk
    | ToolCalled
    | ToolProgressed
    | ToolReturned
    | ApprovalRequested
    | AttemptRestarted
    | WorkflowTurned
    | Completed
    | Failed
    | Cancelled
)

Terminal = Completed | Failed | Cancelled
TERMINAL_TYPES = (Completed, Failed, Cancelled)


class StreamPage(Message):
    """Events in cursor order. ``next`` is where to go on, ``more`` whether to ask at once."""

    events: list[StreamEvent]
    next: str | None
    more: bool


class ReadStream(Question):
    """Read the events of an execution after a cursor, from the stored stream."""

    SUBJECT: ClassVar[str] = "streams.read"
    REPLY: ClassVar[type[Message]] = StreamPage
    ACTION: ClassVar[str] = "executions:content"

    execution_id: ExecutionId
    after: (
        Annotated[
            str,
            msgspec.Meta(
                pattern=CURSOR_PATTERN, description="a cursor: segment and sequence, such as 1.17"
            ),
        ]
        | None
    ) = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1000

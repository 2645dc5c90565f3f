"""The table of all public messages. Documents, permissions and listings are made from it. Pure."""

from typing import NamedTuple, get_args

import msgspec

from schemas.agents import (
    ApplyAgent,
    CreateAgent,
    DeleteAgent,
    GetAgent,
    ListAgents,
    ToggleAgent,
    UpdateAgent,
)
from schemas.base import Message, Request
from schemas.budgets import (
    AdjustBudget,
    BudgetExhaustedEvent,
    ExhaustionForecastEvent,
    GetBudget,
    ListBudgets,
    RemoveBudget,
    SetBudget,
    SetLimits,
    ThresholdCrossedEvent,
    TopUpBudget,
)
from schemas.conversations import GetConversation, ListConversations
from schemas.embeddings import Embed
from schemas.events import (
    AgentChangedEvent,
    BillExceededEvent,
    BillRefusedEvent,
    CommandRejectedEvent,
    EmbeddedEvent,
    ExecutionAcceptedEvent,
    ExecutionCancelledEvent,
    ExecutionCompletedEvent,
    ExecutionFailedEvent,
    ExecutionTimedOutEvent,
    SafetyBlockedEvent,
    SafetyFlaggedEvent,
    SafetyRedactedEvent,
)
from schemas.executions import (
    AwaitExecution,
    CancelExecution,
    ExecuteAgent,
    ExecutionRecord,
    Generate,
    GetExecution,
    ListExecutions,
)
from schemas.problems import Problem
from schemas.quotes import QuotePrice
from schemas.reports import RecommendSavings, ReportCosts
from schemas.streams import ReadStream, StreamEvent

CONTRACT_VERSION = "1.3.0"
"""Grows in the middle when a message or field is added, in front when a reader must change."""

REQUESTS: tuple[type[Request], ...] = (
    ApplyAgent,
    CreateAgent,
    UpdateAgent,
    GetAgent,
    ListAgents,
    ToggleAgent,
    DeleteAgent,
    ExecuteAgent,
    Generate,
    GetExecution,
    AwaitExecution,
    ListExecutions,
    CancelExecution,
    ReadStream,
    GetConversation,
    ListConversations,
    Embed,
    SetBudget,
    RemoveBudget,
    GetBudget,
    ListBudgets,
    TopUpBudget,
    AdjustBudget,
    SetLimits,
    QuotePrice,
    ReportCosts,
    RecommendSavings,
)

STREAM_EVENTS: tuple[type[Message], ...] = get_args(StreamEvent)

EVENTS: tuple[type[Message], ...] = (
    ExecutionAcceptedEvent,
    ExecutionCompletedEvent,
    ExecutionFailedEvent,
    ExecutionCancelledEvent,
    ExecutionTimedOutEvent,
    SafetyBlockedEvent,
    SafetyRedactedEvent,
    BillRefusedEvent,
    BillExceededEvent,
    SafetyFlaggedEvent,
    EmbeddedEvent,
    AgentChangedEvent,
    CommandRejectedEvent,
    ThresholdCrossedEvent,
    BudgetExhaustedEvent,
    ExhaustionForecastEvent,
)

RECORDS: tuple[type[Message], ...] = (ExecutionRecord,)

QUESTIONS = frozenset({"await", "embed", "get", "list", "quote", "read", "recommend", "report"})
"""Verbs that change nothing. They have no durable form, because nobody would get the answer."""


class RequestRow(NamedTuple):
    """A public request: where it is sent, what answers it, and its durable form if it has one."""

    name: str
    message: type[Request]
    subject: str
    submit: str | None
    reply: type[Message]
    doc: str


class FactRow(NamedTuple):
    """A message that is published: a stream event, a public event or a record."""

    name: str
    message: type[Message]
    subject: str
    doc: str


def requests() -> tuple[RequestRow, ...]:
    """Return a row for each public request."""
    return tuple(_request(kind) for kind in REQUESTS)


def stream_events() -> tuple[FactRow, ...]:
    """Return a row for each event of an execution's live stream."""
    return tuple(_fact(kind, tag_of(kind)) for kind in STREAM_EVENTS)


def events() -> tuple[FactRow, ...]:
    """Return a row for each public event."""
    return tuple(_fact(kind, tag_of(kind)) for kind in EVENTS)


def records() -> tuple[FactRow, ...]:
    """Return a row for each stored record."""
    return tuple(_fact(kind, "record") for kind in RECORDS)


def messages() -> tuple[type[msgspec.Struct], ...]:
    """Return every class whose bytes a user may send or see, once each."""
    replies = [kind.REPLY for kind in REQUESTS]
    every = [*REQUESTS, *replies, *STREAM_EVENTS, *EVENTS, *RECORDS, Problem]
    return tuple(dict.fromkeys(every))


def tag_of(kind: type[msgspec.Struct]) -> str:
    """Return the ``type`` a message carries, empty if it carries none."""
    return str(kind.__struct_config__.tag or "")


def first_line(kind: type) -> str:
    """Return the first line of a class's docstring, as Markdown."""
    return (kind.__doc__ or "").strip().partition("\n")[0].replace("``", "`")


def _request(kind: type[Request]) -> RequestRow:
    prefix, tenant, actor, verb = kind.SUBJECT.split(".")
    submit = None if verb in QUESTIONS else f"{prefix}.{tenant}.submit.{actor}.{verb}"
    name = f"{actor}.{verb}"
    return RequestRow(name, kind, kind.SUBJECT, submit, kind.REPLY, first_line(kind))


def _fact(kind: type[Message], name: str) -> FactRow:
    return FactRow(name, kind, kind.SUBJECT or "", first_line(kind))

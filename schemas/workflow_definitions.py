"""The requests about definitions of workflows."""

from datetime import datetime
from typing import Annotated, ClassVar

import msgspec

from schemas.base import Command, Message, Offset, Question
from schemas.ids import AgentId, Token
from schemas.nets import NetDefinition
from schemas.workflows import NetFinding, NetProof, WorkflowDefinition


class ApplyWorkflow(Command):
    """Define a workflow, or replace the one that stands, as its next version. Idempotent.

    It is proved first. An error refuses it: the first one names the field, the details hold all
    findings. Warnings are stored with it.
    """

    SUBJECT: ClassVar[str] = "workflows.apply"
    REPLY: ClassVar[type[Message]] = WorkflowDefinition
    ACTION: ClassVar[str] = "workflows:write"

    id: Token
    net: NetDefinition
    name: Annotated[str, msgspec.Meta(max_length=256)] = ""
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    expected_version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class WorkflowChecked(Message):
    """What is proved of a net. ``accepted`` says whether ``workflows.apply`` would store it."""

    accepted: bool
    proof: NetProof


class CheckWorkflow(Question):
    """Prove a net without storing it."""

    SUBJECT: ClassVar[str] = "workflows.check"
    REPLY: ClassVar[type[Message]] = WorkflowChecked
    ACTION: ClassVar[str] = "workflows:read"

    net: NetDefinition


class QuotedAgent(Message):
    """An agent that a net runs: how often at most, and what one run may cost, in pico-dollars.

    None is not bounded, or has no known price.
    """

    agent_id: AgentId
    executions: int | None = None
    each_pico: int | None = None


class WorkflowQuote(Message):
    """What an instance costs at most, in pico-dollars; None where that is not bounded or not known.

    ``lines`` are its agents. Tools and HTTP requests are not among them. With a budget the instance
    stops there: ``limit_pico``.
    """

    worst_pico: int | None
    executions: int | None
    tool_calls: int | None
    lines: list[QuotedAgent] = []
    limit_pico: int | None = None
    findings: list[NetFinding] = []


class QuoteWorkflow(Question):
    """Ask what an instance of a workflow costs at most."""

    SUBJECT: ClassVar[str] = "workflows.quote"
    REPLY: ClassVar[type[Message]] = WorkflowQuote
    ACTION: ClassVar[str] = "workflows:read"

    id: Token
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class GetWorkflow(Question):
    """Read the definition of a workflow, the newest version unless one is named."""

    SUBJECT: ClassVar[str] = "workflows.get"
    REPLY: ClassVar[type[Message]] = WorkflowDefinition
    ACTION: ClassVar[str] = "workflows:read"

    id: Token
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DeleteWorkflow(Command):
    """Delete a workflow softly: nothing starts any more. What runs goes on."""

    SUBJECT: ClassVar[str] = "workflows.delete"
    REPLY: ClassVar[type[Message]] = WorkflowDefinition
    ACTION: ClassVar[str] = "workflows:write"

    id: Token


class WorkflowSummary(Message):
    """A row of a list of workflows. ``warnings`` counts what its proof has found."""

    id: str
    name: str
    description: str
    version: int
    places: int
    transitions: int
    warnings: int
    updated_at: datetime


class WorkflowList(Message):
    """A page of workflows by their id; ``total`` counts all."""

    workflows: list[WorkflowSummary]
    total: int
    limit: int
    offset: int


class ListWorkflows(Question):
    """List workflows."""

    SUBJECT: ClassVar[str] = "workflows.list"
    REPLY: ClassVar[type[Message]] = WorkflowList
    ACTION: ClassVar[str] = "workflows:read"

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0

"""Templates of agents: a definition with parameters, from which agents are created."""

from datetime import datetime
from typing import Annotated, Any, ClassVar

import msgspec

from schemas.base import Command, Message, Offset, Question
from schemas.ids import TemplateId
from schemas.versioned import Versioned

Description = Annotated[str, msgspec.Meta(max_length=4096)]


class AgentTemplate(Versioned):
    """A stored template. ``version`` grows with each change; ``deleted_at`` marks a soft delete.

    ``agent`` has the fields of ``agents.create`` as JSON. A text in it that is ``{name}`` and
    nothing else becomes the value of that parameter, whatever its type; within a text ``{name}`` is
    replaced by the value as text. ``parameters`` is the JSON Schema of an object of all values.
    """

    id: TemplateId
    agent: dict[str, Any]
    parameters: dict[str, Any] = {}
    description: str = ""


class ApplyTemplate(Command):
    """Create the template, or replace the one that stands. Idempotent.

    ``agent`` has the fields of ``agents.create``; ``{name}`` in its texts stands for a parameter.
    ``parameters`` is the JSON Schema of an object: one property for each parameter.
    """

    SUBJECT: ClassVar[str] = "templates.apply"
    REPLY: ClassVar[type[Message]] = AgentTemplate
    ACTION: ClassVar[str] = "agents:write"
    MAX_BYTES: ClassVar[int] = 4 * 1024**2
    BULK: ClassVar[str | None] = "agent"

    id: TemplateId
    agent: dict[str, Any]
    parameters: dict[str, Any] = {}
    description: Description = ""


class GetTemplate(Question):
    """Read one template, the newest version unless one is named."""

    SUBJECT: ClassVar[str] = "templates.get"
    REPLY: ClassVar[type[Message]] = AgentTemplate
    ACTION: ClassVar[str] = "agents:read"

    id: TemplateId
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DeleteTemplate(Command):
    """Delete softly: no agent can be made of it any more; agents that were made of it remain."""

    SUBJECT: ClassVar[str] = "templates.delete"
    REPLY: ClassVar[type[Message]] = AgentTemplate
    ACTION: ClassVar[str] = "agents:write"

    id: TemplateId


class TemplateSummary(Message):
    """One row of a listing; ``parameters`` are the names of the values it takes."""

    id: TemplateId
    description: str
    version: int
    parameters: list[str]
    created_at: datetime
    updated_at: datetime


class TemplateList(Message):
    """A page of templates; ``total`` counts all that match."""

    templates: list[TemplateSummary]
    total: int
    limit: int
    offset: int


class ListTemplates(Question):
    """List templates by their ids, in pages. ``search`` looks into id and description."""

    SUBJECT: ClassVar[str] = "templates.list"
    REPLY: ClassVar[type[Message]] = TemplateList
    ACTION: ClassVar[str] = "agents:read"

    search: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Offset = 0

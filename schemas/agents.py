"""Agent definitions: what a user writes, what is stored, and the commands around them."""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec

from schemas.base import Command, Message, Question, StrictValue, Value
from schemas.ids import AgentId, TemplateId, Token
from schemas.llm import ModelConfig, ToolDefinition
from schemas.llm import Name as ToolName
from schemas.patches import Patch
from schemas.policy import Policy
from schemas.providers import Provider
from schemas.tools import ToolPattern
from schemas.versioned import Versioned

Text = Annotated[str, msgspec.Meta(max_length=200_000)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]

Trait = Literal["friendly", "professional", "creative", "analytical"]
Tone = Literal["professional", "casual", "formal", "enthusiastic"]
Behavior = Literal["helpful", "direct", "empathetic", "technical"]
LanguageStyle = Literal["concise", "detailed", "conversational"]
AgentStatus = Literal["IDLE", "BUSY", "OFFLINE"]


ToolNames = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=128)]], msgspec.Meta(max_length=128)
]
"""Patterns of names of tools."""


class Personality(StrictValue):
    """How the agent speaks; becomes part of its system prompt."""

    traits: Annotated[list[Trait], msgspec.Meta(max_length=4)] = []
    tone: Tone | None = None
    behavior: Behavior | None = None
    language_style: LanguageStyle | None = None


class Prompts(StrictValue):
    """The texts an agent is instructed with. ``user_template`` may hold {variables}."""

    system: Text = ""
    user_template: Text = "{input_data}"
    context_instructions: Text | None = None


class Memory(StrictValue):
    """How much of a session's conversation goes into the next call.

    ``last_n`` keeps ``max_history`` messages; ``sliding_window`` also keeps within
    ``context_window`` tokens.
    """

    strategy: Literal["last_n", "sliding_window"] = "sliding_window"
    max_history: Annotated[int, msgspec.Meta(ge=0, le=100)] = 10
    context_window: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] = 4000


class AgentLimits(StrictValue):
    """Bounds of one execution. None takes the fleet's default.

    After so many rounds of tools, or calls in all, the model is told so and asked for its answer
    once more; ``parallel_tools`` of an answer's calls run side by side.
    """

    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=86_400)] | None = None
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=20)] | None = None
    tool_rounds: Annotated[int, msgspec.Meta(ge=1, le=64)] | None = None
    tool_calls: Annotated[int, msgspec.Meta(ge=1, le=512)] | None = None
    parallel_tools: Annotated[int, msgspec.Meta(ge=1, le=32)] | None = None


class ModelChoice(StrictValue):
    """The short form of provider and config in one object, accepted as input.

    A new agent needs ``provider`` and ``model``; of one that stands, what is not named stays. null
    leaves a setting to the provider. ``provider`` is the type of one that needs no more than a
    model.
    """

    provider: Token | msgspec.UnsetType = msgspec.UNSET
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] | msgspec.UnsetType = (
        msgspec.UNSET
    )
    temperature: Annotated[float, msgspec.Meta(ge=0.0, le=2.0)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | msgspec.UnsetType | None = (
        msgspec.UNSET
    )
    top_p: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | msgspec.UnsetType | None = msgspec.UNSET


class AgentTool(StrictValue, omit_defaults=True):
    """Tools that an agent may use: one that is described here by its ``name``, or a server's.

    What is described here no server has, so that a call of it ends the execution and whoever has
    asked runs it. ``parameters`` is the JSON Schema of its arguments. Of a ``server``, the tools
    that match ``tools`` are offered, those that match ``deny`` are not; ``*`` stands for any text.
    ``requires_approval`` says of which (true: of all) each call waits for a person. ``seconds`` is
    how long a call may take, 60 unless it says so. The server ``agents`` is built in: there the
    patterns are those of the agents that this one may run, each as long as it may take itself.
    """

    name: ToolName | None = None
    description: Annotated[str, msgspec.Meta(max_length=4096)] = ""
    parameters: dict[str, Any] = msgspec.field(default_factory=lambda: {"type": "object"})
    server: Token | None = None
    tools: ToolNames = []
    deny: ToolNames = []
    requires_approval: bool | ToolNames = False
    seconds: Annotated[float, msgspec.Meta(gt=0, le=3600)] | None = None

    @property
    def definition(self) -> ToolDefinition | None:
        """What is told a model of a tool that is described here; None of a server's."""
        if self.name is None:
            return None
        return ToolDefinition(
            name=self.name, description=self.description, parameters=self.parameters
        )


class TemplateUse(Value):
    """The version of a template that an agent was made of."""

    id: TemplateId
    version: int


class AgentDefinition(Versioned):
    """A stored agent. ``version`` grows with each change; ``deleted_at`` marks a soft delete."""

    id: AgentId
    name: str
    provider: Provider
    description: str = ""
    kind: str = "general"
    status: AgentStatus = "IDLE"
    config: ModelConfig = msgspec.field(default_factory=ModelConfig)
    prompts: Prompts = msgspec.field(default_factory=Prompts)
    personality: Personality | None = None
    tools: list[AgentTool] = []
    capabilities: list[str] = []
    memory: Memory = msgspec.field(default_factory=Memory)
    limits: AgentLimits = msgspec.field(default_factory=AgentLimits)
    policy: Policy = msgspec.field(default_factory=Policy)
    metadata: dict[str, Any] = {}
    template: TemplateUse | None = None


Tools = Annotated[list[AgentTool | ToolPattern], msgspec.Meta(max_length=128)]
"""Tools, each whole or by its name alone, which is that of a server, as in ``notion`` and
``notion/search_*``, or, where there is no such server, that of a tool which takes any arguments."""


class _AgentFields(Command):
    """What a user may write of an agent, and is taken as it is given."""

    MAX_BYTES: ClassVar[int] = 4 * 1024**2
    BULK: ClassVar[str | None] = "prompts"

    name: Name | None = None
    description: Annotated[str, msgspec.Meta(max_length=4096)] | msgspec.UnsetType = msgspec.UNSET
    kind: Label | msgspec.UnsetType = msgspec.UNSET
    model_config: ModelChoice | msgspec.UnsetType = msgspec.UNSET
    instructions: Text | msgspec.UnsetType = msgspec.UNSET
    tools: Tools | msgspec.UnsetType = msgspec.UNSET
    capabilities: Annotated[list[Label], msgspec.Meta(max_length=64)] | msgspec.UnsetType = (
        msgspec.UNSET
    )


class _WholeFields(_AgentFields):
    """What a user may write of an agent, each field as a whole."""

    provider: Provider | msgspec.UnsetType = msgspec.UNSET
    config: ModelConfig | msgspec.UnsetType = msgspec.UNSET
    prompts: Prompts | msgspec.UnsetType = msgspec.UNSET
    personality: Personality | msgspec.UnsetType | None = msgspec.UNSET
    memory: Memory | msgspec.UnsetType = msgspec.UNSET
    limits: AgentLimits | msgspec.UnsetType = msgspec.UNSET
    policy: Policy | msgspec.UnsetType = msgspec.UNSET
    metadata: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class ApplyAgent(_WholeFields):
    """Create the agent, or replace the given fields of the one that stands. Idempotent.

    ``model_config`` and ``instructions`` are short forms: of provider and config, and of the system
    prompt.
    """

    SUBJECT: ClassVar[str] = "agents.apply"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:write"

    id: AgentId


class CreateAgent(_WholeFields):
    """Create the agent; a ``conflict`` if it stands already.

    Without an ``id`` one is made of its name. With a ``template``, its ``values`` fill the
    template's parameters, and fields that are given here are merged over what comes of it.
    """

    SUBJECT: ClassVar[str] = "agents.create"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:write"

    id: AgentId | None = None
    template: TemplateId | None = None
    template_version: Annotated[int, msgspec.Meta(ge=1)] | None = None
    values: dict[str, Any] = {}


class UpdateAgent(_AgentFields):
    """Merge the given fields into the agent; ``not_found`` if there is no such agent.

    Objects are merge patches (RFC 7396): a member that is not named stays, null takes one back to
    its default. A list, and a provider of another type, is replaced as a whole.
    """

    SUBJECT: ClassVar[str] = "agents.update"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:write"

    id: AgentId
    provider: Patch | msgspec.UnsetType = msgspec.UNSET
    config: Patch | msgspec.UnsetType | None = msgspec.UNSET
    prompts: Patch | msgspec.UnsetType | None = msgspec.UNSET
    personality: Patch | msgspec.UnsetType | None = msgspec.UNSET
    memory: Patch | msgspec.UnsetType | None = msgspec.UNSET
    limits: Patch | msgspec.UnsetType | None = msgspec.UNSET
    policy: Patch | msgspec.UnsetType | None = msgspec.UNSET
    metadata: Patch | msgspec.UnsetType | None = msgspec.UNSET
    expected_version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class GetAgent(Question):
    """Read one definition, the newest version unless one is named."""

    SUBJECT: ClassVar[str] = "agents.get"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:read"

    id: AgentId
    version: Annotated[int, msgspec.Meta(ge=1)] | None = None


class DeleteAgent(Command):
    """Delete softly: the agent can no longer be executed or listed; its newest versions remain."""

    SUBJECT: ClassVar[str] = "agents.delete"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:write"

    id: AgentId


class ToggleAgent(Command):
    """Take an agent OFFLINE (it refuses executions), or back to IDLE."""

    SUBJECT: ClassVar[str] = "agents.toggle"
    REPLY: ClassVar[type[Message]] = AgentDefinition
    ACTION: ClassVar[str] = "agents:write"

    id: AgentId
    status: Literal["IDLE", "OFFLINE"]


class AgentSummary(Message):
    """One row of a listing."""

    id: AgentId
    name: str
    description: str
    kind: str
    status: AgentStatus
    provider: str
    model: str
    version: int
    execution_count: int
    created_at: datetime
    updated_at: datetime
    capabilities: list[str] = []


class AgentList(Message):
    """A page of agents; ``total`` counts all that match the filters."""

    agents: list[AgentSummary]
    total: int
    limit: int
    offset: int


class ListAgents(Question):
    """List agents by filter, sorted, in pages.

    ``search`` looks into id, name, description and capabilities. ``capability`` is one that the
    agent declares, in any case.
    """

    SUBJECT: ClassVar[str] = "agents.list"
    REPLY: ClassVar[type[Message]] = AgentList
    ACTION: ClassVar[str] = "agents:read"

    status: AgentStatus | None = None
    provider: Label | None = None
    capability: Label | None = None
    kind: Label | None = None
    search: Annotated[str, msgspec.Meta(max_length=200)] | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 50
    offset: Annotated[int, msgspec.Meta(ge=0)] = 0
    sort_by: Literal["created_at", "updated_at", "name", "execution_count"] = "created_at"
    sort_order: Literal["asc", "desc"] = "desc"

"""Workflow definitions: Petri nets whose tokens carry data, and what their transitions do.

A token lies in a place. A transition takes tokens out of its ``from_places`` and puts some into its
target places, at once or, where it has an ``action``, when that has ended. An instance of a
workflow begins with one token in the initial place.

Paths name parts of a token: ``data.x.y``, ``metadata.x``, ``id``, ``place``, ``counters.name``; a
bare name means that of the metadata or, where there is none, of the data. Expressions are CEL
(https://cel.dev) over the same names, and ``event`` where an event is looked at.
"""

from typing import Annotated, Any, Literal

import msgspec

from schemas.base import StrictValue
from schemas.ids import END, AgentId, Label, Token
from schemas.patches import Patch
from schemas.tools import ServerName, ToolName

MOST_PLACES = 256
MOST_TRANSITIONS = 512
MOST_FORK = 1_000
MOST_DEFINITION_BYTES = 256 * 1024  # a running instance carries its definition

PlaceId = Token
TransitionId = Token

Path = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+){0,15}" + END,
        max_length=256,
        description="names with dots between them, such as data.customer.name",
    ),
]

Expression = Annotated[str, msgspec.Meta(min_length=1, max_length=2_000)]
"""CEL. Its cost is bounded when the definition is applied and when it is evaluated."""

Seconds = Annotated[float, msgspec.Meta(gt=0, le=366 * 86_400)]

Mapping = Annotated[dict[Path, Path], msgspec.Meta(max_length=64)]
"""Where each value goes, and whence it is: the key is filled with what the value names."""

Values = Annotated[dict[Path, Any], msgspec.Meta(max_length=64)]

RelativeSubject = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[A-Za-z0-9_-]{1,64}(\.[A-Za-z0-9_-]{1,64}){0,7}" + END,
        description="a subject below the tenant's own, such as crm.lead_created",
    ),
]

RelativePattern = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(\*|[A-Za-z0-9_-]{1,64})(\.(\*|[A-Za-z0-9_-]{1,64})){0,7}(\.>)?" + END,
        description="a pattern of the tenant's subjects: * is one token, > all that follow",
    ),
]

Zone = Annotated[
    str,
    msgspec.Meta(pattern=r"^[A-Za-z0-9_+/-]{1,64}" + END, description="a zone as Europe/Berlin"),
]
HttpUrl = Annotated[
    str, msgspec.Meta(pattern=r"^https?://[^\s]{1,2000}" + END, description="an http(s) URL")
]

Cron = Annotated[str, msgspec.Meta(min_length=9, max_length=200)]
"""Five fields of a crontab."""


# Rules


class FieldExists(StrictValue, tag="field_exists"):
    """The field is there, and not null."""

    field: Path
    id: Label | None = None
    description: str = ""


class FieldEquals(StrictValue, tag="field_equals"):
    """The field has this value. A bare name fits where metadata or data has it."""

    field: Path
    value: Any
    id: Label | None = None
    description: str = ""


class FieldGreaterThan(StrictValue, tag="field_greater_than"):
    """The field is a number above ``value``."""

    field: Path
    value: float
    id: Label | None = None
    description: str = ""


class FieldLessThan(StrictValue, tag="field_less_than"):
    """The field is a number below ``value``."""

    field: Path
    value: float
    id: Label | None = None
    description: str = ""


class FieldContains(StrictValue, tag="field_contains"):
    """The field is a text that has ``value`` in it, or a list that has it as an element."""

    field: Path
    value: Any
    id: Label | None = None
    description: str = ""


class AllRules(StrictValue, tag="and"):
    """All hold; so it does where there is none."""

    rules: Annotated[list["Rule"], msgspec.Meta(max_length=64)]
    id: Label | None = None
    description: str = ""


class AnyRule(StrictValue, tag="or"):
    """One holds; where there is none it does not."""

    rules: Annotated[list["Rule"], msgspec.Meta(max_length=64)]
    id: Label | None = None
    description: str = ""


class NotRule(StrictValue, tag="not"):
    """The rule does not hold."""

    rule: "Rule"
    id: Label | None = None
    description: str = ""


Rule = (
    FieldExists
    | FieldEquals
    | FieldGreaterThan
    | FieldLessThan
    | FieldContains
    | AllRules
    | AnyRule
    | NotRule
)


# What a transition does


class AgentRetryConfig(StrictValue, omit_defaults=True):
    """How often an action is attempted, and after which errors.

    Between two attempts lie ``backoff_seconds``, twice as many each time (``exponential``), the
    same (``fixed``), or as many more (``linear``). ``retry_on_errors`` are codes of problems, and
    ``timeout`` or ``rate_limit``; empty means those that say that they may be repeated.
    """

    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=100)] = 3
    backoff_seconds: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 1.0
    backoff: Literal["fixed", "linear", "exponential"] = "exponential"
    retry_on_errors: Annotated[list[Label], msgspec.Meta(max_length=32)] = []


class _Action(StrictValue, omit_defaults=True):
    """What all actions say. ``input_mapping`` fills what is asked from the token.

    ``output_mapping`` fills the token from the answer. What is not ``required`` lets the token pass
    when the action has failed; its problem is then in ``data.errors.<transition>``.
    """

    input_mapping: Mapping = {}
    output_mapping: Mapping = {}
    required: bool = True
    timeout_seconds: Seconds | None = None
    retry_config: AgentRetryConfig | None = None


class AgentTransitionConfig(_Action, tag="agent"):
    """Run an agent. The mapped input is its context, and ``task`` what it is to do.

    ``task`` is an expression where ``task_is`` says so, else a text in which ``{{path}}`` stands
    for a value. Without a task it is ``context.task`` or the mapped input as JSON. The answer has
    the names ``text``, ``output`` (the JSON it holds), ``agent_id``, ``execution_id``,
    ``timestamp``, ``tokens_used`` and ``cost``. With ``answer_schema`` the agent must answer with
    JSON of this schema. ``llm_config`` overrides the agent's own settings.
    """

    agent_id: AgentId
    task: str = ""
    task_is: Literal["text", "expression"] = "text"
    llm_config: Patch = {}
    answer_schema: dict[str, Any] | None = None
    max_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)] | None = None


class ToolAction(_Action, tag="tool"):
    """Call a tool of an MCP server. ``arguments`` are constants, over which the input is mapped."""

    server: ServerName
    tool: ToolName
    arguments: Values = {}


class HttpAction(_Action, tag="http"):
    """Make an HTTP request, under the egress policy. The answer has ``status`` and ``body``.

    The mapped input is its JSON body, or its query where the method has no body. ``secret`` is sent
    as a bearer token. A status above 399 is a failure unless ``expect`` names it.
    """

    url: HttpUrl
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "POST"
    headers: Annotated[dict[str, str], msgspec.Meta(max_length=32)] = {}
    secret: Token | None = None
    expect: Annotated[list[int], msgspec.Meta(max_length=32)] = []


class PublishAction(_Action, tag="publish"):
    """Publish the mapped input on a subject of the tenant; without a mapping the token's data."""

    subject: RelativeSubject


class EmitAction(_Action, tag="emit"):
    """Write an event of this type to the stream of the instance."""

    event: Token


class TimerAction(_Action, tag="timer"):
    """Wait: for so many seconds, until the moment that a path names, or until the next cron time.

    A time that a change of clocks skips counts as the moment of the change; one that comes twice
    counts the first time.
    """

    seconds: Seconds | None = None
    until: Path | None = None
    cron: Cron | None = None
    zone: Zone = "UTC"


class HumanAction(_Action, tag="human"):
    """Wait for a person, who fills in a form and perhaps chooses one of the ``choices``.

    After ``timeout_seconds`` it goes to ``escalate_to``, each for as long again, and then fails.
    """

    title: str
    assignee: Label | None = None
    form: dict[str, Any] | None = None
    choices: Annotated[list[Label], msgspec.Meta(max_length=16)] = []
    escalate_to: Annotated[list[Label], msgspec.Meta(max_length=8)] = []


class WorkflowAction(_Action, tag="workflow"):
    """Run another workflow; the mapped input is the data of its token, its final data the answer.

    ``on_close`` says what becomes of it when this instance ends before it. ``version`` is pinned
    when the definition is applied.
    """

    workflow_id: Token
    version: int | None = None
    on_close: Literal["cancel", "leave"] = "cancel"


class EventAction(_Action, tag="event"):
    """Wait for an event on a subject of the tenant whose content fits the condition."""

    subject: RelativePattern
    condition: Expression | None = None


class TransformAction(_Action, tag="transform"):
    """Set fields of the token at once: to constants, and to what expressions give."""

    values: Values = {}
    expressions: Annotated[dict[Path, Expression], msgspec.Meta(max_length=64)] = {}
    remove: Annotated[list[Path], msgspec.Meta(max_length=64)] = []


Action = (
    AgentTransitionConfig
    | ToolAction
    | HttpAction
    | PublishAction
    | EmitAction
    | TimerAction
    | HumanAction
    | WorkflowAction
    | EventAction
    | TransformAction
)


# The net


class Fork(StrictValue, omit_defaults=True):
    """Put one token for each element of a list into the target place; they are a group.

    A list with more than ``most`` elements is a failure. An empty one goes on as one token in
    ``empty_to``; without that it is a failure too. ``into`` is where each token has its element;
    the list itself none of them has, and all else of the data each of them.
    """

    over: Path
    most: Annotated[int, msgspec.Meta(ge=1, le=MOST_FORK)]
    into: Path = "data.item"
    empty_to: PlaceId | None = None


class Join(StrictValue, omit_defaults=True):
    """Take tokens of one group as one: all, or as soon as ``need`` are there.

    A group are the tokens of one fork, or of one transition ``as_group``; where forks lie in each
    other, those of the innermost. Tokens of no group are one where ``need`` is given. After
    ``deadline_seconds`` from the first arrival, or when none of the rest can come any more because
    all of them have ended elsewhere, ``least`` are enough; fewer are a failure. The rest of the
    group is cancelled. The token that goes on has the data of the first in the order of the fork,
    but instead of what ``take`` names ``into``: the list of that of each, in this order.
    """

    need: Annotated[int, msgspec.Meta(ge=1, le=MOST_FORK)] | None = None
    deadline_seconds: Seconds | None = None
    least: Annotated[int, msgspec.Meta(ge=1, le=MOST_FORK)] = 1
    take: Path = "data.item"
    into: Path = "data.results"


class ErrorPolicy(StrictValue, omit_defaults=True):
    """What becomes of a token when the transition's action has failed for good.

    ``fail`` ends the instance, but pauses where nobody knows whether the action had its effect,
    ``pause`` waits for ``workflows.retry`` or ``skip``, ``route`` puts the token into ``to_place``
    with the problem in ``data.errors.<transition>``, ``compensate`` undoes, latest first, what has
    a compensation, and then fails.
    """

    then: Literal["fail", "pause", "route", "compensate"] = "fail"
    to_place: PlaceId | None = None


class TransitionDefinition(StrictValue, omit_defaults=True):
    """A transition. With mode ``any`` a token in one of ``from_places`` is enough; ``all`` joins.

    It fires by itself as soon as it is enabled, or only when ``workflows.fire`` says so
    (``manual``). Of several that could take a token the highest ``priority`` goes first, then the
    one that stands first, and of several tokens the one that has lain longest. A token takes it at
    most ``most`` times. With ``to_places`` it puts a token into each; ``as_group`` makes them a
    group, for a join. Tokens that ``all`` takes together are of the same groups, or one of them is
    of no further group than the others; those of one group leave it. Their data are merged in the
    order of ``from_places``. ``agent_execution`` is another way to write an action that runs an
    agent.
    """

    id: TransitionId
    from_places: Annotated[list[PlaceId], msgspec.Meta(min_length=1, max_length=32)]
    to_place: PlaceId | None = None
    to_places: Annotated[list[PlaceId], msgspec.Meta(max_length=32)] = []
    as_group: bool = False
    mode: Literal["any", "all"] = "any"
    manual: bool = False
    rules: Annotated[list[Rule], msgspec.Meta(max_length=64)] = []
    conditions: Annotated[list[Expression], msgspec.Meta(max_length=32)] = []
    priority: Annotated[int, msgspec.Meta(ge=-1_000, le=1_000)] = 0
    most: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    fork: Fork | None = None
    join: Join | None = None
    action: Action | None = None
    agent_execution: AgentTransitionConfig | None = None
    on_error: ErrorPolicy = ErrorPolicy()
    compensation: Action | None = None
    description: str = ""


class PlaceAgentSchedule(StrictValue, omit_defaults=True):
    """When a place's agent runs for a token: first after ``initial_delay_seconds``, then again."""

    initial_delay_seconds: Annotated[float, msgspec.Meta(ge=0, le=366 * 86_400)] = 0.0
    interval_seconds: Seconds | None = None
    max_executions: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1


class PlaceAgentConfig(_Action, omit_defaults=True):
    """An agent that runs for each token that enters the place and fits all ``trigger_conditions``.

    When it has ended, ``auto_transition`` fires with the token; its place may have an agent too.
    """

    agent_id: AgentId
    id: Token | None = None
    task: str = ""
    task_is: Literal["text", "expression"] = "text"
    llm_config: Patch = {}
    answer_schema: dict[str, Any] | None = None
    trigger_conditions: Annotated[list[Rule], msgspec.Meta(max_length=64)] = []
    schedule: PlaceAgentSchedule = PlaceAgentSchedule()
    auto_transition: TransitionId | None = None


class PlaceTimeout(StrictValue):
    """A token that has lain in the place for so long goes to another one."""

    seconds: Seconds
    to_place: PlaceId


class PlaceDefinition(StrictValue, omit_defaults=True):
    """A place. A token in a ``terminal`` or ``error`` one has come to its end.

    ``capacity`` is how many tokens may lie in it: what would put more there is not enabled.
    ``data_schema`` describes a token's data here, by which guards are checked.
    """

    id: PlaceId
    type: Literal["normal", "initial", "terminal", "error", "waiting", "review"] = "normal"
    capacity: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    timeout: PlaceTimeout | None = None
    agents: Annotated[list[PlaceAgentConfig], msgspec.Meta(max_length=16)] = []
    data_schema: dict[str, Any] | None = None
    description: str = ""


# What starts it


class EventTrigger(StrictValue, tag="event", omit_defaults=True):
    """An event on a subject of the tenant starts an instance, or acts on those that run.

    ``key`` is an expression over ``event`` that gives the instance: started under this id, or
    acted upon. ``data`` maps the event to the data of the token.
    """

    id: Token
    subject: RelativePattern
    condition: Expression | None = None
    does: Literal["start", "put_token", "fire"] = "start"
    key: Expression | None = None
    place: PlaceId | None = None
    transition: TransitionId | None = None
    data: Mapping = {}


class CronTrigger(StrictValue, tag="cron", omit_defaults=True):
    """Instances start by the clock. With ``catch_up`` what was missed is made up for, once."""

    id: Token
    cron: Cron
    zone: Zone = "UTC"
    data: Values = {}
    catch_up: bool = False


Trigger = EventTrigger | CronTrigger


class RunBudget(StrictValue, omit_defaults=True):
    """What an instance may spend, in pico-dollars.

    At ``wrap_up_percent`` the stream says so and ``wrap_up`` is set in the metadata of all tokens,
    for guards to see. ``reserve_percent`` are left to transitions that are ``final``.
    """

    limit_pico: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)]
    wrap_up_percent: Annotated[int, msgspec.Meta(ge=1, le=100)] = 80
    reserve_percent: Annotated[int, msgspec.Meta(ge=0, le=90)] = 10
    final: Annotated[list[TransitionId], msgspec.Meta(max_length=64)] = []


class NetDefinition(StrictValue, omit_defaults=True):
    """What a workflow is: its places, transitions and triggers, and what it may do.

    ``agents`` are those that it may run, * in them stands for any text; empty allows all of the
    tenant. ``seconds`` is how long an instance may take. ``most_tokens`` bounds those that are in
    an instance at one time, also where ``workflows.put_token`` adds some.
    """

    places: Annotated[list[PlaceDefinition], msgspec.Meta(min_length=1, max_length=MOST_PLACES)]
    transitions: Annotated[
        list[TransitionDefinition], msgspec.Meta(max_length=MOST_TRANSITIONS)
    ] = []
    triggers: Annotated[list[Trigger], msgspec.Meta(max_length=32)] = []
    agents: Annotated[list[Label], msgspec.Meta(max_length=64)] = []
    budget: RunBudget | None = None
    seconds: Seconds | None = None
    most_tokens: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1_000

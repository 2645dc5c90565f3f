"""What the pool asks of one connection to an MCP server, whatever its transport and revision."""

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from schemas.tools import MOST_RESULT_BYTES, ServerTool, ToolContent, ToolOutcome, ToolResult

T = TypeVar("T")

Era = Literal["auto", "2025", "2026"]
"""The handshake revisions (until 2025-11-25), the stateless one (2026-07-28), or a probe first."""

Lane = Literal["http", "sse", "stdio"]

Progress = Callable[[float, float | None, str], None]
"""Takes how much is done, of how much where it is known, and the server's words of it."""

Log = Callable[[str, str], None]
"""Takes a level (``info``, ``warning`` ...) and the server's words."""

Counted = Literal["sessions", "sockets", "tasks", "processes"]


class Bearer(Protocol):
    """The access token of a server, which changes while its sessions go on.

    Both methods raise ``UpstreamError``.
    """

    @property
    def key(self) -> str:
        """What tells whose token it is, without telling it."""
        ...

    async def token(self) -> str:
        """Return the token to send, "" where none is needed yet."""
        ...

    async def renewed(self, refused: str, challenge: str) -> str:
        """Return the token to send in place of a refused one; ``challenge`` says why it was."""
        ...


class ServerAddress(NamedTuple):
    """Where a server is and how to speak to it. Secrets are filled in already."""

    name: str
    kind: Lane
    url: str = ""
    command: tuple[str, ...] = ()
    env: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    era: Era = "auto"
    bearer: Bearer | None = None


class CallPlan(NamedTuple):
    """One call of a tool. ``deadline`` is in seconds of the loop's time.

    ``meta`` goes into the request's ``_meta``: the trace context, say. ``may_repeat``: it may be
    sent once more where a kept connection turns out to have been closed.
    """

    tool: str
    arguments: dict[str, Any]
    deadline: float
    meta: Mapping[str, Any] = {}
    progress: Progress | None = None
    log: Log | None = None
    idempotency_key: str | None = None
    may_repeat: bool = False
    most_bytes: int = MOST_RESULT_BYTES


class Opened(NamedTuple):
    """What is known of a server once it is open.

    ``stateless``: calls of several users may go over it side by side; there is no session.
    """

    era: Literal["2025", "2026"]
    version: str
    server: str
    tools: bool
    resources: bool
    prompts: bool
    list_changed: bool
    stateless: bool


class Listing(NamedTuple, Generic[T]):
    """A whole list. ``ttl`` in seconds, None where the server says nothing of it.

    ``digest`` is that of the items in the server's order.
    """

    items: list[T]
    ttl: float | None
    digest: str
    dropped: tuple[str, ...] = ()
    """Why items were left out, each with its name in printable characters."""


class ListedResource(NamedTuple):
    """A resource as its server lists it."""

    uri: str
    name: str
    description: str = ""
    media_type: str = ""


class ListedTemplate(NamedTuple):
    """A template of resources as its server lists it."""

    template: str
    name: str
    description: str = ""
    media_type: str = ""


class CompletionWish(NamedTuple):
    """An argument that is being written: of a ``prompt``, or else of a ``template``."""

    argument: str
    value: str
    prompt: str | None = None
    template: str = ""
    given: Mapping[str, str] = {}


class Completion(NamedTuple):
    """Values that an argument may have."""

    values: list[str]
    total: int | None = None
    more: bool = False


class PromptArgument(NamedTuple):
    """What a prompt wants to be told."""

    name: str
    description: str = ""
    required: bool = False


class ListedPrompt(NamedTuple):
    """A prompt as its server lists it."""

    name: str
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


class PromptMessage(NamedTuple):
    """A message of a prompt, with its role."""

    role: str
    content: ToolContent


class LeakCounters:
    """How many sessions, sockets, tasks and processes were opened and closed."""

    __slots__ = ("closed", "opened")

    def __init__(self) -> None:
        self.opened: Counter[Counted] = Counter()
        self.closed: Counter[Counted] = Counter()

    def open(self) -> dict[Counted, int]:
        """Return how many of each are open; all are 0 where nothing has leaked."""
        return {kind: self.opened[kind] - self.closed[kind] for kind in self.opened}


class ServerSaid(NamedTuple):
    """The facts of a refusal: JSON-RPC code, HTTP status, revisions that the server speaks."""

    code: int | None = None
    status: int | None = None
    versions: tuple[str, ...] = ()


class UpstreamError(Exception):
    """A request has brought no result.

    ``sent``: bytes may have left, and the server may have begun. ``session_lost``: the session is
    gone and must be opened anew. ``retry_after`` in seconds, where the server has said so.
    """

    def __init__(
        self,
        outcome: ToolOutcome,
        message: str,
        *,
        sent: bool = False,
        session_lost: bool = False,
        retry_after: float | None = None,
        said: ServerSaid = ServerSaid(),  # noqa: B008  immutable
    ) -> None:
        super().__init__(message)
        self.outcome: ToolOutcome = outcome
        self.message = message
        self.sent = sent
        self.session_lost = session_lost
        self.retry_after = retry_after
        self.said = said


class Upstream(Protocol):
    """One connection or session. All but ``open`` and ``close`` need it to be open.

    Deadlines are in seconds of the loop's time. Every method but ``close`` raises
    ``UpstreamError``; requests may run side by side, and one that fails or is cancelled leaves the
    others alone.
    """

    @property
    def counters(self) -> LeakCounters:
        """What it has opened and closed."""
        ...

    async def open(self, deadline: float) -> Opened:
        """Connect, and agree on a revision of the protocol."""
        ...

    async def call(self, plan: CallPlan) -> ToolResult:
        """Call a tool; a tool's own error is a result."""
        ...

    async def list_tools(self, deadline: float) -> Listing[ServerTool]:
        """Return all tools, over all pages."""
        ...

    async def list_resources(self, deadline: float) -> Listing[ListedResource]:
        """Return all resources, over all pages."""
        ...

    async def list_templates(self, deadline: float) -> Listing[ListedTemplate]:
        """Return all templates of resources; a server that knows none has none."""
        ...

    async def complete(self, wish: CompletionWish, deadline: float) -> Completion:
        """Return values that an argument may have."""
        ...

    async def read_resource(self, uri: str, deadline: float) -> list[ToolContent]:
        """Return what a resource holds, within ``MOST_RESULT_BYTES``."""
        ...

    async def list_prompts(self, deadline: float) -> Listing[ListedPrompt]:
        """Return all prompts, over all pages."""
        ...

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str], deadline: float
    ) -> list[PromptMessage]:
        """Return the messages of a prompt."""
        ...

    def listen(self, changed: Callable[[str], None]) -> Awaitable[None]:
        """Tell of changed lists (``tools``, ``resources``, ``prompts``) while it is open.

        It returns at once where the server does not offer it.
        """
        ...

    async def probe(self, deadline: float) -> None:
        """Ask for a sign of life: ``server/discover``, ``ping`` or a list, by revision."""
        ...

    async def close(self) -> None:
        """Give everything back. It does not raise, and takes 10 s at most."""
        ...

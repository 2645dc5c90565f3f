"""The agents actor: its declaration, and its handlers: read, ask the owner, reply."""

import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import msgspec

from actors.agents.adapters.admission import Admission
from actors.agents.adapters.awaiting import Endings
from actors.agents.adapters.conversations import Conversations
from actors.agents.adapters.definitions import Definitions, demanded
from actors.agents.adapters.definitions import opened as opened_definitions
from actors.agents.adapters.deletion import Deletions, no_session
from actors.agents.adapters.embeddings import EmbeddingAnswers, WaitingRequest
from actors.agents.adapters.ends import observe
from actors.agents.adapters.listed import LISTED
from actors.agents.adapters.lists import Counted, Lists, counted
from actors.agents.adapters.prompts import PromptStore
from actors.agents.adapters.spending_guard import SpendingGuard
from actors.agents.adapters.streams import Streams
from actors.agents.adapters.templates import TEMPLATES, Templates
from actors.agents.adapters.templates import opened as opened_templates
from actors.agents.adapters.tool_service import ToolCommands
from actors.agents.adapters.tools import RememberedTools
from actors.agents.config import AgentsConfig
from actors.agents.core.acceptance import accept, begun_by, bounds, plain_request, task_of
from actors.agents.core.delegation import delegates
from actors.agents.core.embedding import ATTEMPTS, TIMEOUT_SECONDS, accept_embedding
from actors.agents.core.entity import EXECUTION
from actors.agents.core.listing import Activity, page_agents, status_of
from actors.agents.core.overrides import overridden
from actors.agents.core.prompt import assemble, unused
from actors.agents.core.requests import digest_of
from actors.agents.core.tool_offers import NO_TOOLS, ToolOffers, offers, servers
from bus.actor import Actor, Here, Own
from bus.client.beginning import BEGIN
from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.fairness.slices import Slices
from bus.ids import new_id
from bus.jetstream.reading import StreamReader
from bus.kv import Follow, Store
from bus.kv.prices import PRICES
from bus.kv.terms import EVERY_TENANT, TERMS, WHAT, KnownTerms, TermsHearer
from bus.ports import Bus
from bus.projection import ProjectionWatch
from bus.projection.file import microseconds
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.requests.service import answers
from bus.runtime.supervision import Part, PartKind
from bus.subjects import fill
from schemas.agents import (
    AgentDefinition,
    AgentList,
    ApplyAgent,
    CreateAgent,
    DeleteAgent,
    GetAgent,
    ListAgents,
    ToggleAgent,
    UpdateAgent,
)
from schemas.beginnings import BEGINNERS
from schemas.conversations import (
    Conversation,
    ConversationList,
    DeleteConversation,
    DeletedConversation,
    GetConversation,
    ListConversations,
)
from schemas.embeddings import Embed
from schemas.events import AgentChangedEvent
from schemas.executions import (
    AwaitedExecution,
    AwaitExecution,
    CancelExecution,
    DeletedExecution,
    DeleteExecution,
    ExecuteAgent,
    ExecutionHandle,
    ExecutionList,
    ExecutionRecord,
    Generate,
    GetExecution,
    ListExecutions,
)
from schemas.journal import CommandEnvelope
from schemas.ledger import ACCOUNT_ENTITY
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    Accept,
    Cancel,
    Look,
    Looked,
    Origin,
)
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.streams import ReadStream, StreamPage
from schemas.terms import Restriction


class Stores(NamedTuple):
    """What the agents actor reads."""

    definitions: Definitions
    conversations: Conversations
    streams: Streams
    lists: Lists


class Agents:
    """The public face of definitions, executions, streams and conversations."""

    def __init__(
        self,
        config: AgentsConfig,
        bus: Bus,
        owners: Owners,
        stores: Stores,
        guard: SpendingGuard,
        admission: Admission,
    ) -> None:
        self._config = config
        self._bus = bus
        self._owners = owners
        self._definitions = stores.definitions
        self._conversations = stores.conversations
        self._streams = stores.streams
        self._lists = stores.lists
        self._guard = guard
        self._slices = Slices()
        self._prompts = PromptStore(bus, config.shards, self._slices)
        self._admission = admission
        self.embeddings = EmbeddingAnswers(bus, self._record, admission.quotas, admission)
        self.endings = Endings(bus, self._look)
        self.tools = RememberedTools(bus.transport)
        self._deletions = Deletions(
            owners, stores.lists, stores.conversations, bus.erase, config.request_timeout
        )

    # Definitions

    @answers(ApplyAgent)
    async def do_apply(self, caller: Caller, wanted: ApplyAgent) -> AgentDefinition:
        """Create an agent, or change the one that stands."""
        return await self._changed(caller, await self._definitions.apply(caller.tenant, wanted))

    @answers(CreateAgent)
    async def do_create(self, caller: Caller, wanted: CreateAgent) -> AgentDefinition:
        """Create an agent."""
        return await self._changed(caller, await self._definitions.create(caller.tenant, wanted))

    @answers(UpdateAgent)
    async def do_update(self, caller: Caller, wanted: UpdateAgent) -> AgentDefinition:
        """Change an agent."""
        return await self._changed(caller, await self._definitions.update(caller.tenant, wanted))

    @answers(DeleteAgent)
    async def do_delete(self, caller: Caller, wanted: DeleteAgent) -> AgentDefinition:
        """Delete an agent softly."""
        return await self._changed(caller, await self._definitions.delete(caller.tenant, wanted))

    @answers(ToggleAgent)
    async def do_toggle(self, caller: Caller, wanted: ToggleAgent) -> AgentDefinition:
        """Take an agent out of service, or back into it."""
        return await self._changed(caller, await self._definitions.toggle(caller.tenant, wanted))

    @answers(GetAgent)
    async def do_get_agent(self, caller: Caller, wanted: GetAgent) -> AgentDefinition:
        """Read a definition; that in force says as ``agents.list`` does whether it is ``BUSY``."""
        agent = await self._definitions.get(caller.tenant, wanted)
        if wanted.version is not None:
            return agent
        activity = await self._lists.activity(caller.tenant, agent.id)
        return msgspec.structs.replace(agent, status=status_of(agent.status, activity))

    @answers(ListAgents)
    async def do_list_agents(self, caller: Caller, query: ListAgents) -> AgentList:
        """List agents with what they are doing."""
        rows = await self._definitions.rows(caller.tenant)
        activities = await self._lists.activities(caller.tenant)
        return page_agents(rows, query, lambda agent: activities.get(agent, Activity()))

    async def _changed(self, caller: Caller, agent: AgentDefinition) -> AgentDefinition:
        event = AgentChangedEvent(
            agent_id=agent.id,
            version=agent.version,
            status=agent.status,
            deleted=agent.deleted_at is not None,
            at=agent.updated_at,
        )
        template = AgentChangedEvent.SUBJECT or ""
        subject = fill(template, tenant=caller.tenant, agent_id=agent.id)
        await self._bus.outbox.post(subject, encode(event))
        return agent

    # Executions

    @answers(ExecuteAgent)
    async def do_execute(self, caller: Caller, wanted: ExecuteAgent) -> ExecutionHandle:
        """Begin an execution, or attach to the one that has the same id."""
        agent = await self._wanted(caller, wanted)
        request = await self._request(caller, agent, wanted)
        offered = await self._offers(caller, agent)
        request = msgspec.structs.replace(request, tools=offered.definitions)
        given = wanted.id or caller.submission
        origin = self._origin(caller, agent, wanted, given or new_id(), digest_of(wanted))
        timeout = agent.limits.timeout_seconds or self._config.execution_timeout
        accepted = accept(origin, request, agent.policy, timeout=timeout)
        wish = await self._slices.run(accepted, caller.tenant)
        wish = msgspec.structs.replace(wish, tools=offered.plan)
        handle = await self.begin(caller, wish, fresh=given is None)
        warnings = [*unused(agent, wanted), *offered.warnings]
        return msgspec.structs.replace(handle, warnings=warnings) if warnings else handle

    @answers(Generate)
    async def do_generate(self, caller: Caller, wanted: Generate) -> ExecutionHandle:
        """Begin an execution without an agent, or attach to the one that has the same id."""
        plain = plain_request(wanted, self._bus.clock())
        request = await self._slices.run(plain, caller.tenant)
        if isinstance(request, Problem):
            raise ProblemError(request)
        usual = self._config
        allowed = bounds(wanted, timeout=usual.execution_timeout, attempts=usual.max_attempts)
        given = wanted.id or caller.submission
        origin = Origin(
            tenant=caller.tenant,
            execution_id=given or new_id(),
            task=task_of(wanted.messages),
            digest=digest_of(wanted),
            max_attempts=allowed.attempts,
            user=wanted.user,
            project=wanted.project,
            labels=wanted.labels,
            kept=self._admission.kept(caller.tenant),
            trace=caller.trace,
        )
        accepted = accept(origin, request, wanted.policy, timeout=allowed.timeout)
        wish = await self._slices.run(accepted, caller.tenant)
        return await self.begin(caller, wish, fresh=given is None)

    @answers(Embed)
    async def do_embed(self, caller: Caller, wanted: Embed) -> None:
        """Begin an execution that embeds texts, or attach to the one that has the same id.

        The caller is answered when it has ended.
        """
        whole = msgspec.structs.replace(wanted, offset=0, limit=None)
        given = wanted.id
        origin = Origin(
            kind="embed",
            tenant=caller.tenant,
            execution_id=given or new_id(),
            task="",
            digest=digest_of(whole),
            max_attempts=ATTEMPTS,
            user=wanted.user,
            project=wanted.project,
            trace=caller.trace,
        )
        accepted = accept_embedding(wanted, origin, self._bus.clock())
        wish = await self._slices.run(accepted, caller.tenant)
        if isinstance(wish, Problem):
            raise ProblemError(wish)
        self.embeddings.expect(caller.tenant)
        await self.begin(caller, wish, fresh=given is None)
        name = origin.execution_id
        self.embeddings.give(WaitingRequest(caller, wanted, name, TIMEOUT_SECONDS))

    async def begin(self, caller: Caller, wanted: Accept, *, fresh: bool) -> ExecutionHandle:
        """Have the owner accept an execution; one whose id is ``fresh`` has none before it."""
        wanted = demanded(begun_by(caller.began_by, wanted))
        origin = wanted.origin
        await self._admission.demand(origin.tenant, origin.execution_id)
        envelope = caller.envelope(
            "accept",
            origin.execution_id,
            msgspec.Raw(await self._prompts.encoded(await self._guard.bounded(wanted))),
            digest=origin.digest,
            fresh=fresh,
        )
        answer = await self._asked(caller, envelope)
        if origin.kind != "embed":
            self._admission.begun(origin.tenant, origin.execution_id)
        return decode(ExecutionHandle, answer)

    async def _wanted(self, caller: Caller, wanted: ExecuteAgent) -> AgentDefinition:
        """Return the agent's definition as this run has it."""
        agent = await self._definitions.executable(caller.tenant, wanted.agent_id)
        if wanted.model is wanted.provider is None and not wanted.config:
            return agent
        return demanded(await self._slices.whole(lambda: overridden(agent, wanted), caller.tenant))

    async def _request(
        self, caller: Caller, agent: AgentDefinition, wanted: ExecuteAgent
    ) -> GenerateRequest:
        turns = (
            await self._conversations.turns(caller.tenant, agent.id, wanted.session)
            if wanted.session is not None
            else []
        )
        assembling = self._slices.whole(lambda: assemble(agent, wanted, turns), caller.tenant)
        return demanded(await assembling)

    async def _offers(self, caller: Caller, agent: AgentDefinition) -> ToolOffers:
        """Return which tools the agent's model is offered."""
        named = servers(agent)
        listed = await self.tools.of(caller, named) if named.all else NO_TOOLS
        others = await self._definitions.rows(caller.tenant) if delegates(agent) else ()
        return demanded(offers(agent, listed, others, caller.principal))

    def _origin(
        self,
        caller: Caller,
        agent: AgentDefinition,
        wanted: ExecuteAgent,
        execution_id: str,
        digest: str,
    ) -> Origin:
        return Origin(
            tenant=caller.tenant,
            execution_id=execution_id,
            agent_id=agent.id,
            agent_version=agent.version,
            task=wanted.task,
            digest=digest,
            max_attempts=agent.limits.max_attempts or self._config.max_attempts,
            user=wanted.user,
            project=wanted.project,
            session=wanted.session,
            labels=wanted.labels,
            kept=self._admission.kept(caller.tenant),
            trace=caller.trace,
        )

    @answers(GetExecution)
    async def do_get_execution(self, caller: Caller, wanted: GetExecution) -> ExecutionRecord:
        """Read an execution as its owner knows it."""
        looked = await self._looked(caller, wanted.execution_id)
        return await self._prompts.shown(caller.tenant, looked)

    @answers(CancelExecution)
    async def do_cancel(self, caller: Caller, wanted: CancelExecution) -> ExecutionHandle:
        """End an execution now."""
        envelope = caller.command("", wanted.execution_id, Cancel(reason=wanted.reason))
        return decode(ExecutionHandle, await self._asked(caller, envelope))

    @answers(DeleteExecution)
    async def do_delete_execution(
        self, caller: Caller, wanted: DeleteExecution
    ) -> DeletedExecution:
        """Forget an execution that has ended."""
        return await self._deletions.execution(caller, wanted.execution_id)

    async def _asked(self, caller: Caller, envelope: CommandEnvelope) -> bytes:
        return await caller.ask(self._owners, envelope, timeout=self._config.request_timeout)

    async def _looked(self, caller: Caller, execution_id: str) -> Looked:
        envelope = caller.command("", execution_id, Look())
        return decode(Looked, await self._asked(caller, envelope))

    async def _record(self, caller: Caller, execution_id: str) -> ExecutionRecord:
        return (await self._looked(caller, execution_id)).record

    async def _look(self, caller: Caller, execution_id: str) -> ExecutionRecord:
        return await self.do_get_execution(caller, GetExecution(execution_id=execution_id))

    @answers(AwaitExecution)
    async def do_await(self, caller: Caller, wanted: AwaitExecution) -> AwaitedExecution | None:
        """Answer when an execution has ended; None where that is later, by its reply subject."""
        return await self.endings.wait(caller, wanted)

    @answers(ListExecutions)
    async def do_list_executions(self, caller: Caller, query: ListExecutions) -> ExecutionList:
        """List executions, newest first."""
        return await self._lists.executions(caller, query)

    # Streams and conversations

    @answers(ReadStream)
    async def do_read_stream(self, caller: Caller, wanted: ReadStream) -> StreamPage:
        """Read stored events after a cursor; of an expired stream, the end its record tells."""
        execution = GetExecution(execution_id=wanted.execution_id)
        record = partial(self.do_get_execution, caller, execution)
        return await self._streams.read(caller.tenant, wanted, record)

    @answers(GetConversation)
    async def do_get_conversation(self, caller: Caller, wanted: GetConversation) -> Conversation:
        """Read the turns of a session."""
        turns = await self._conversations.turns(
            caller.tenant, wanted.agent_id, wanted.session, limit=wanted.limit
        )
        if not turns:
            raise no_session(wanted.agent_id, wanted.session)
        return Conversation(agent_id=wanted.agent_id, session=wanted.session, turns=turns)

    @answers(ListConversations)
    async def do_list_conversations(
        self, caller: Caller, query: ListConversations
    ) -> ConversationList:
        """List the sessions of an agent, those with the newest turns first."""
        return await self._lists.conversations(caller, query)

    @answers(DeleteConversation)
    async def do_delete_conversation(
        self, caller: Caller, wanted: DeleteConversation
    ) -> DeletedConversation:
        """Forget a session with its executions."""
        return await self._deletions.conversation(caller, wanted)


# The actor

AGENTS = Store(bucket="agents", kind=AgentDefinition, max_bytes=256 * 1024 * 1024)

LATELY = timedelta(hours=1)
COUNT_SECONDS = 30.0
"""What has ended within an hour becomes less also where nothing happens."""


def usual_restrictions(config: AgentsConfig) -> tuple[Restriction, ...]:
    """Return whom every tenant has to ask because of the operator's limits."""
    return (Restriction(),) if config.limits.hold() else ()


KNOWN_TERMS = Follow(
    store=TERMS,
    pattern=EVERY_TENANT,
    make=lambda process, config: KnownTerms(process, usual_restrictions(config)),
    what=WHAT,
)


@asynccontextmanager
async def opened(here: Here) -> AsyncGenerator[Own]:
    """Make the handlers, and who answers those that wait for ends and for vectors."""
    bus, quotas, executions = here.bus, here.process.quotas, here.projection(LISTED)
    lists, reader = Lists(executions), StreamReader(bus.nats)
    streams, admission = Streams(reader.read_batch), Admission(quotas, lists.knows)
    bus.nats.on_reconnect(streams.forget)

    def count() -> Callable[[sqlite3.Connection], Counted]:
        return partial(counted, since=microseconds(bus.clock() - LATELY))

    executions.watch(ProjectionWatch(count, admission.take, seconds=COUNT_SECONDS))
    terms, accounts = here.known(KNOWN_TERMS), here.followed(KNOWN_TERMS)
    hearer = TermsHearer(terms, accounts, bus.transport)
    async with (
        opened_templates(here.bucket(TEMPLATES), bus.clock, quotas) as templates,
        opened_definitions(here.bucket(AGENTS), templates, bus.clock, quotas) as definitions,
    ):
        agents = Agents(
            here.config,
            bus,
            here.owners(EXECUTION_ENTITY),
            Stores(definitions, Conversations(reader.read_subject), streams, lists),
            SpendingGuard(
                terms, here.known(PRICES), accounts.known, bus.clock, here.config.spending_policy
            ),
            admission,
        )
        calls = ToolCommands(
            here.owners(EXECUTION_ENTITY),
            agents.tools,
            admission,
            lambda caller, wanted, fresh: agents.begin(caller, wanted, fresh=fresh),
            here.config.request_timeout,
        )
        yield Own(
            handlers=[agents, calls, templates],
            parts=[
                Part(name="terms", run=hearer.run, not_ready_reason=hearer.not_ready_reason),
                Part.of("endings", PartKind.WORKER, agents.endings),
                Part.of("embeddings", PartKind.WORKER, agents.embeddings),
            ],
            uses=[definitions.uses, admission.uses],
        )


ACTOR = Actor(
    name="agents",
    settings=AgentsConfig,
    entities=[EXECUTION],
    under=lambda entity, _: replace(entity, observe=observe),
    stores=[AGENTS, TEMPLATES],
    follows=[PRICES, KNOWN_TERMS],
    projections=[LISTED],
    services=[Agents, ToolCommands, Templates],
    jobs=[BEGIN],
    asks=[ACCOUNT_ENTITY, *BEGINNERS],
    opened=opened,
)

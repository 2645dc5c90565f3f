"""What the agents actor answers. Handlers only: read, ask the owner of the state, reply."""

import hashlib
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from actors.agents.adapters import metrics
from actors.agents.adapters.admission import Admission
from actors.agents.adapters.awaiting import Endings
from actors.agents.adapters.conversations import Conversations
from actors.agents.adapters.definitions import Definitions
from actors.agents.adapters.deletion import Deletions, no_session
from actors.agents.adapters.embeddings import EmbeddingAnswers, Waiting
from actors.agents.adapters.lists import Lists
from actors.agents.adapters.prompts import Prompts
from actors.agents.adapters.purse import Purse
from actors.agents.adapters.streams import Streams
from actors.agents.config import AgentsConfig
from actors.agents.core.acceptance import accept, bounds, plain_request, task_of
from actors.agents.core.damage import nobodys, remains
from actors.agents.core.decisions import decide, failing
from actors.agents.core.effects import answered, changes, effects
from actors.agents.core.embedding import ATTEMPTS, TIMEOUT_SECONDS, accept_embedding
from actors.agents.core.execution import Execution, due, evolve, has_ended
from actors.agents.core.listing import Activity, page_agents, status_of
from actors.agents.core.outward import (
    announce,
    kept_record,
    left,
    restore,
    retention,
)
from actors.agents.core.prompt import assemble
from actors.agents.core.prompts import bodies, filled
from bus.caller import Caller
from bus.codec import decode, encode
from bus.errors import ProblemError
from bus.ids import new_id
from bus.ports import Bus
from bus.rpc import Owners
from bus.service import Endpoint
from bus.shard import Damage, Entity
from bus.slices import Slices
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
from schemas.conversations import (
    Conversation,
    ConversationList,
    DeleteConversation,
    DeletedConversation,
    GetConversation,
    ListConversations,
)
from schemas.decision import Publish
from schemas.embeddings import Embed
from schemas.events import AgentChangedEvent, ExecutionEndedEvent
from schemas.executions import (
    RECORD_SUBJECT,
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
from schemas.journal import Mail
from schemas.lifecycle import (
    EXECUTION_ENTITY,
    Accept,
    Cancel,
    ExecutionCommand,
    ExecutionEvent,
    Look,
    Looked,
    Origin,
    Tick,
)
from schemas.llm import GenerateRequest
from schemas.problems import Problem
from schemas.streams import ReadStream, StreamPage


def execution_entity() -> Entity[Execution, ExecutionCommand, ExecutionEvent]:
    """Return the execution as the shard runtime sees it."""
    return Entity(
        name=EXECUTION_ENTITY,
        version=1,
        state_type=Execution,
        command_type=ExecutionCommand,
        event_type=ExecutionEvent,
        decide=decide,
        evolve=evolve,
        effects=effects,
        changes=changes,
        announce=announce,
        due=due,
        ended=has_ended,
        record=kept_record,
        record_subject=lambda tenant, key: fill(RECORD_SUBJECT, tenant=tenant, execution_id=key),
        answered=answered,
        tick=Tick(),
        retention=retention,
        deletes=frozenset({"delete"}),
        left=left,
        restore=lambda tenant, data: restore(tenant, decode(ExecutionRecord, data)),
        failing=_failing,
        bodies=bodies,
        filled=filled,
        observe=_count,
    )


def _failing(damage: Damage) -> tuple[Execution, Sequence[ExecutionEvent]]:
    """End an execution of which part cannot be read."""
    try:
        stored = decode(ExecutionRecord, damage.record) if damage.record is not None else None
    except ProblemError:
        stored = None
    origin = nobodys(damage.tenant, damage.key)
    state = remains(origin, damage.state, stored, damage.at)
    return state, failing(state, damage.problem, damage.at)


def _count(publication: Publish) -> None:
    """Count an execution's end when it is journalled."""
    body = publication.body
    if isinstance(body, ExecutionEndedEvent):
        status = str(body.__struct_config__.tag).removeprefix("execution.")
        metrics.EXECUTIONS.at(status).inc()
        metrics.EXECUTION_SECONDS.at(status).observe(body.duration_ms / 1000)


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
        purse: Purse,
        admission: Admission,
        embeddings: EmbeddingAnswers,
    ) -> None:
        self._config = config
        self._bus = bus
        self._owners = owners
        self._definitions = stores.definitions
        self._conversations = stores.conversations
        self._streams = stores.streams
        self._lists = stores.lists
        self._purse = purse
        self._slices = Slices()
        self._prompts = Prompts(bus, config.shards, self._slices)
        self._admission = admission
        self._embeddings = embeddings
        self._deletions = Deletions(
            owners, stores.lists, stores.conversations, bus.erase, config.request_timeout
        )
        self.endings = Endings(bus, self._look)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return all requests this actor answers."""
        return (
            Endpoint(ApplyAgent, self.do_apply),
            Endpoint(CreateAgent, self.do_create),
            Endpoint(UpdateAgent, self.do_update),
            Endpoint(GetAgent, self.do_get_agent),
            Endpoint(DeleteAgent, self.do_delete),
            Endpoint(ToggleAgent, self.do_toggle),
            Endpoint(ListAgents, self.do_list_agents),
            Endpoint(ExecuteAgent, self.do_execute),
            Endpoint(Generate, self.do_generate),
            Endpoint(Embed, self.do_embed),
            Endpoint(GetExecution, self.do_get_execution),
            Endpoint(CancelExecution, self.do_cancel),
            Endpoint(DeleteExecution, self.do_delete_execution),
            Endpoint(AwaitExecution, self.do_await),
            Endpoint(ListExecutions, self.do_list_executions),
            Endpoint(ReadStream, self.do_read_stream),
            Endpoint(GetConversation, self.do_get_conversation),
            Endpoint(ListConversations, self.do_list_conversations),
            Endpoint(DeleteConversation, self.do_delete_conversation),
        )

    # Definitions

    async def do_apply(self, caller: Caller, wanted: ApplyAgent) -> AgentDefinition:
        """Create an agent, or change the one that stands."""
        return await self._changed(caller, await self._definitions.apply(caller.tenant, wanted))

    async def do_create(self, caller: Caller, wanted: CreateAgent) -> AgentDefinition:
        """Create an agent."""
        return await self._changed(caller, await self._definitions.create(caller.tenant, wanted))

    async def do_update(self, caller: Caller, wanted: UpdateAgent) -> AgentDefinition:
        """Change an agent."""
        return await self._changed(caller, await self._definitions.update(caller.tenant, wanted))

    async def do_delete(self, caller: Caller, wanted: DeleteAgent) -> AgentDefinition:
        """Delete an agent softly."""
        return await self._changed(caller, await self._definitions.delete(caller.tenant, wanted))

    async def do_toggle(self, caller: Caller, wanted: ToggleAgent) -> AgentDefinition:
        """Take an agent out of service, or back into it."""
        return await self._changed(caller, await self._definitions.toggle(caller.tenant, wanted))

    async def do_get_agent(self, caller: Caller, wanted: GetAgent) -> AgentDefinition:
        """Read a definition; that in force says as ``agents.list`` does whether it is ``BUSY``."""
        agent = await self._definitions.get(caller.tenant, wanted)
        if wanted.version is not None:
            return agent
        activity = await self._lists.activity(caller.tenant, agent.id)
        return msgspec.structs.replace(agent, status=status_of(agent.status, activity))

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

    async def do_execute(self, caller: Caller, wanted: ExecuteAgent) -> ExecutionHandle:
        """Begin an execution, or attach to the one that has the same id."""
        agent = await self._definitions.executable(caller.tenant, wanted.agent_id)
        request = await self._request(caller, agent, wanted)
        given = wanted.id or caller.submission
        origin = self._origin(caller, agent, wanted, given or new_id(), _digest(wanted))
        timeout = agent.limits.timeout_seconds or self._config.execution_timeout
        accepted = accept(origin, request, agent.policy, timeout=timeout)
        wish = await self._slices.run(accepted, caller.tenant)
        return await self._begin(caller, wish, fresh=given is None)

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
            digest=_digest(wanted),
            max_attempts=allowed.attempts,
            user=wanted.user,
            project=wanted.project,
            labels=wanted.labels,
            kept=self._admission.kept(caller.tenant),
            trace=caller.trace,
        )
        accepted = accept(origin, request, wanted.policy, timeout=allowed.timeout)
        wish = await self._slices.run(accepted, caller.tenant)
        return await self._begin(caller, wish, fresh=given is None)

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
            digest=_digest(whole),
            max_attempts=ATTEMPTS,
            user=wanted.user,
            project=wanted.project,
            trace=caller.trace,
        )
        accepted = accept_embedding(wanted, origin, self._bus.clock())
        wish = await self._slices.run(accepted, caller.tenant)
        if isinstance(wish, Problem):
            raise ProblemError(wish)
        self._embeddings.expect(caller.tenant)
        await self._begin(caller, wish, fresh=given is None)
        name = origin.execution_id
        self._embeddings.give(Waiting(caller, wanted, name, TIMEOUT_SECONDS))

    async def _begin(self, caller: Caller, wanted: Accept, *, fresh: bool) -> ExecutionHandle:
        origin = wanted.origin
        await self._admission.demand(origin.tenant, origin.execution_id)
        mail = caller.mail(
            "accept",
            origin.execution_id,
            msgspec.Raw(await self._prompts.encoded(await self._purse.bounded(wanted))),
            digest=origin.digest,
            fresh=fresh,
        )
        answer = await self._asked(caller, mail)
        if origin.kind != "embed":
            self._admission.begun(origin.tenant, origin.execution_id)
        return decode(ExecutionHandle, answer)

    async def _request(
        self, caller: Caller, agent: AgentDefinition, wanted: ExecuteAgent
    ) -> GenerateRequest:
        turns = (
            await self._conversations.turns(caller.tenant, agent.id, wanted.session)
            if wanted.session is not None
            else []
        )
        request = await self._slices.whole(lambda: assemble(agent, wanted, turns), caller.tenant)
        if isinstance(request, Problem):
            raise ProblemError(request)
        return request

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

    async def do_get_execution(self, caller: Caller, wanted: GetExecution) -> ExecutionRecord:
        """Read an execution as its owner knows it."""
        mail = caller.command("", wanted.execution_id, Look())
        looked = decode(Looked, await self._asked(caller, mail))
        return await self._prompts.shown(caller.tenant, looked)

    async def do_cancel(self, caller: Caller, wanted: CancelExecution) -> ExecutionHandle:
        """End an execution now."""
        mail = caller.command("", wanted.execution_id, Cancel(reason=wanted.reason))
        return decode(ExecutionHandle, await self._asked(caller, mail))

    async def do_delete_execution(
        self, caller: Caller, wanted: DeleteExecution
    ) -> DeletedExecution:
        """Forget an execution that has ended."""
        return await self._deletions.execution(caller, wanted.execution_id)

    async def _asked(self, caller: Caller, mail: Mail) -> bytes:
        return await caller.ask(self._owners, mail, timeout=self._config.request_timeout)

    async def _look(self, caller: Caller, execution_id: str) -> ExecutionRecord:
        return await self.do_get_execution(caller, GetExecution(execution_id=execution_id))

    async def do_await(self, caller: Caller, wanted: AwaitExecution) -> AwaitedExecution | None:
        """Answer when an execution has ended; None where that is later, by its reply subject."""
        return await self.endings.wait(caller, wanted)

    async def do_list_executions(self, caller: Caller, query: ListExecutions) -> ExecutionList:
        """List executions, newest first."""
        return await self._lists.executions(caller, query)

    # Streams and conversations

    async def do_read_stream(self, caller: Caller, wanted: ReadStream) -> StreamPage:
        """Read stored events after a cursor; of an expired stream, the end its record tells."""
        execution = GetExecution(execution_id=wanted.execution_id)
        record = partial(self.do_get_execution, caller, execution)
        return await self._streams.read(caller.tenant, wanted, record)

    async def do_get_conversation(self, caller: Caller, wanted: GetConversation) -> Conversation:
        """Read the turns of a session."""
        turns = await self._conversations.turns(
            caller.tenant, wanted.agent_id, wanted.session, limit=wanted.limit
        )
        if not turns:
            raise no_session(wanted.agent_id, wanted.session)
        return Conversation(agent_id=wanted.agent_id, session=wanted.session, turns=turns)

    async def do_list_conversations(
        self, caller: Caller, query: ListConversations
    ) -> ConversationList:
        """List the sessions of an agent, those with the newest turns first."""
        return await self._lists.conversations(caller, query)

    async def do_delete_conversation(
        self, caller: Caller, wanted: DeleteConversation
    ) -> DeletedConversation:
        """Forget a session with its executions."""
        return await self._deletions.conversation(caller, wanted)


def _digest(wanted: ExecuteAgent | Generate | Embed) -> str:
    """Return what tells a repeat of a request from another request under the same id."""
    canonical = msgspec.json.encode(wanted, order="deterministic")
    return hashlib.sha256(canonical).hexdigest()[:32]

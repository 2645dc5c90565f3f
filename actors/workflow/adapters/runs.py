"""The requests about instances: read, ask the owner, reply."""

from typing import NamedTuple

import msgspec

from actors.workflow.adapters.definitions import Workflows
from actors.workflow.adapters.lists import listed
from actors.workflow.adapters.past import Past
from actors.workflow.adapters.quoting import AgentPrices
from actors.workflow.core.acts import Act, command_of
from actors.workflow.core.definitions import forbidden_agent, net_bytes
from actors.workflow.core.messages import BeginRun, LookRun, Migrate
from actors.workflow.core.starting import digest_of, forked, origin_of
from bus.codec import decode, encode
from bus.errors import ProblemError, problem
from bus.ids import new_id
from bus.ports import Clock
from bus.projection import Projector
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.requests.service import answers
from schemas.journal import CommandEnvelope
from schemas.workflow_runs import (
    AnswerWorkflow,
    CancelWorkflow,
    FireTransition,
    ForkWorkflow,
    GetWorkflowHistory,
    GetWorkflowRun,
    ListWorkflowRuns,
    MigrateWorkflow,
    PutToken,
    ReplayWorkflow,
    ResumeWorkflow,
    RetryFiring,
    SignalWorkflow,
    SkipFiring,
    StartWorkflow,
    SuspendWorkflow,
    UpdateToken,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowReplayed,
    WorkflowRun,
    WorkflowRunList,
)
from schemas.workflows import WorkflowDefinition

MOST_DEPTH = 8
"""So many beginnings may lie in each other."""


class RunSources(NamedTuple):
    """Where the requests about instances find what they need."""

    workflows: Workflows
    quotes: AgentPrices
    past: Past
    listed: Projector
    clock: Clock


class WorkflowRuns:
    """The public face of instances. A request waits ``timeout`` seconds for an owner."""

    def __init__(self, owners: Owners, sources: RunSources, timeout: float) -> None:
        self._owners = owners
        self._from = sources
        self._timeout = timeout

    # Beginnings

    @answers(StartWorkflow)
    async def do_start(self, caller: Caller, wanted: StartWorkflow) -> WorkflowHandle:
        """Start an instance, or attach to the one that has the same id."""
        depth = caller.began_by.depth if caller.began_by is not None else 0
        if depth > MOST_DEPTH:
            raise problem("conflict", f"more than {MOST_DEPTH} workflows would run in each other")
        known = await self._from.workflows.usable(caller.tenant, wanted.workflow_id, wanted.version)
        given = wanted.id or caller.submission
        worst = await self._worst(caller, known)
        origin = origin_of(
            wanted,
            given or new_id(),
            by=caller.principal,
            trace=caller.trace,
            began_by=caller.began_by,
            worst=worst,
        )
        begins = BeginRun(
            origin=origin, version=known.version, data=wanted.data, metadata=wanted.metadata
        )
        return await self._begin(caller, begins, known, fresh=given is None)

    @answers(ForkWorkflow)
    async def do_fork(self, caller: Caller, wanted: ForkWorkflow) -> WorkflowHandle:
        """Start an instance with the tokens that another one had."""
        state = await self._from.past.state(caller.tenant, wanted.instance_id, wanted.at)
        given = wanted.id or caller.submission
        name, digest = given or new_id(), digest_of(wanted)
        begins = forked(state, name, digest, caller.principal, caller.trace)
        return await self._sent_begin(caller, begins, fresh=given is None)

    async def _begin(
        self, caller: Caller, begins: BeginRun, known: WorkflowDefinition, *, fresh: bool
    ) -> WorkflowHandle:
        refused = forbidden_agent(known.net)
        if refused is not None:
            raise ProblemError(refused)
        net, digest = net_bytes(known)
        begins = msgspec.structs.replace(begins, net=msgspec.Raw(net), net_digest=digest)
        return await self._sent_begin(caller, begins, fresh=fresh)

    async def _sent_begin(self, caller: Caller, begins: BeginRun, *, fresh: bool) -> WorkflowHandle:
        key = begins.origin.instance_id if begins.origin is not None else ""
        envelope = caller.envelope("", key, msgspec.Raw(encode(begins)), fresh=fresh)
        return decode(WorkflowHandle, await self._asked(caller, envelope))

    async def _worst(self, caller: Caller, known: WorkflowDefinition) -> dict[str, int]:
        """Return what agents cost at most, where a budget has to know it."""
        if known.net.budget is None:
            return {}
        prices = await self._from.quotes.prices(caller, known.net)
        return {agent: price for agent, price in prices.items() if price is not None}

    # Acts

    @answers(FireTransition)
    async def do_fire(self, caller: Caller, wanted: FireTransition) -> WorkflowHandle:
        """Fire a transition."""
        return await self._acted(caller, wanted)

    @answers(PutToken)
    async def do_put(self, caller: Caller, wanted: PutToken) -> WorkflowHandle:
        """Put a token into a place."""
        return await self._acted(caller, wanted, wanted.id)

    @answers(UpdateToken)
    async def do_update(self, caller: Caller, wanted: UpdateToken) -> WorkflowHandle:
        """Change a token."""
        return await self._acted(caller, wanted)

    @answers(SignalWorkflow)
    async def do_signal(self, caller: Caller, wanted: SignalWorkflow) -> WorkflowHandle:
        """Tell an instance of an event, which it takes once."""
        return await self._acted(caller, wanted, wanted.id)

    @answers(AnswerWorkflow)
    async def do_answer(self, caller: Caller, wanted: AnswerWorkflow) -> WorkflowHandle:
        """Answer what a person is asked."""
        return await self._acted(caller, wanted)

    @answers(CancelWorkflow)
    async def do_cancel(self, caller: Caller, wanted: CancelWorkflow) -> WorkflowHandle:
        """End an instance."""
        return await self._acted(caller, wanted)

    @answers(SuspendWorkflow)
    async def do_suspend(self, caller: Caller, wanted: SuspendWorkflow) -> WorkflowHandle:
        """Let nothing fire."""
        return await self._acted(caller, wanted)

    @answers(ResumeWorkflow)
    async def do_resume(self, caller: Caller, wanted: ResumeWorkflow) -> WorkflowHandle:
        """Let an instance go on."""
        return await self._acted(caller, wanted)

    @answers(RetryFiring)
    async def do_retry(self, caller: Caller, wanted: RetryFiring) -> WorkflowHandle:
        """Begin an action anew."""
        return await self._acted(caller, wanted)

    @answers(SkipFiring)
    async def do_skip(self, caller: Caller, wanted: SkipFiring) -> WorkflowHandle:
        """Let a token pass."""
        return await self._acted(caller, wanted)

    @answers(MigrateWorkflow)
    async def do_migrate(self, caller: Caller, wanted: MigrateWorkflow) -> WorkflowHandle:
        """Put an instance on another version of its workflow."""
        run = await self._look(caller, wanted.instance_id)
        known = await self._from.workflows.usable(
            caller.tenant, run.workflow_id, wanted.version, field="version"
        )
        net, digest = net_bytes(known)
        command = Migrate(
            id=caller.submission or new_id(),
            by=caller.name,
            expected=wanted.expected_version,
            version=known.version,
            net=msgspec.Raw(net),
            net_digest=digest,
            places=wanted.places,
        )
        envelope = caller.command("", wanted.instance_id, command)
        return decode(WorkflowHandle, await self._asked(caller, envelope))

    async def _acted(self, caller: Caller, wanted: Act, name: str | None = None) -> WorkflowHandle:
        name = name or caller.submission or new_id()
        command = command_of(wanted, name, caller.name, self._from.clock())
        envelope = caller.command("", wanted.instance_id, command)
        return decode(WorkflowHandle, await self._asked(caller, envelope))

    async def _asked(self, caller: Caller, envelope: CommandEnvelope) -> bytes:
        return await caller.ask(self._owners, envelope, timeout=self._timeout)

    # What is read

    @answers(GetWorkflowRun)
    async def do_get_run(self, caller: Caller, wanted: GetWorkflowRun) -> WorkflowRun:
        """Read an instance as its owner knows it or, where it is forgotten, its record."""
        return await self._look(caller, wanted.instance_id)

    @answers(ListWorkflowRuns)
    async def do_list_runs(self, caller: Caller, query: ListWorkflowRuns) -> WorkflowRunList:
        """List instances."""
        return await listed(self._from.listed, caller, query)

    @answers(GetWorkflowHistory)
    async def do_history(self, caller: Caller, wanted: GetWorkflowHistory) -> WorkflowHistory:
        """Read turns."""
        return await self._from.past.history(caller.tenant, wanted)

    @answers(ReplayWorkflow)
    async def do_replay(self, caller: Caller, wanted: ReplayWorkflow) -> WorkflowReplayed:
        """Decide all turns again."""
        return await self._from.past.replay(caller.tenant, wanted.instance_id)

    async def _look(self, caller: Caller, instance: str) -> WorkflowRun:
        envelope = caller.command("", instance, LookRun())
        try:
            return decode(WorkflowRun, await self._asked(caller, envelope))
        except ProblemError as refused:
            if refused.problem.code != "not_found":
                raise
            stored = await self._from.past.record(caller.tenant, instance)
            if stored is None:
                raise
            return stored

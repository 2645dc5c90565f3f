"""The store of workflows, and the requests about their definitions."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager

import msgspec

from actors.workflow.adapters.quoting import AgentPrices
from actors.workflow.core import definitions
from actors.workflow.core.proof.checking import check_steps
from actors.workflow.core.proof.pricing import worst_case
from bus.codec import encode
from bus.errors import ProblemError
from bus.fairness import Quotas
from bus.fairness.slices import Slices
from bus.kv import Bucket, Kind, Store, VersionedStore
from bus.kv.versioned import opened as opened_store
from bus.ports import Bus
from bus.requests.caller import Caller
from bus.requests.service import answers
from bus.subjects import fill
from schemas.nets import NetDefinition, WorkflowAction
from schemas.workflow_definitions import (
    ApplyWorkflow,
    CheckWorkflow,
    DeleteWorkflow,
    GetWorkflow,
    ListWorkflows,
    QuotedAgent,
    QuoteWorkflow,
    WorkflowChecked,
    WorkflowList,
    WorkflowQuote,
    WorkflowSummary,
)
from schemas.workflow_events import WorkflowDefinedEvent
from schemas.workflows import NetProof, WorkflowDefinition

NETS = Store(bucket="nets", kind=WorkflowDefinition, max_bytes=256 * 1024 * 1024)

KIND = Kind("workflow", definitions.summary)


class Workflows:
    """The definitions of all tenants. Made by ``opened``; raises as ``bus.kv.versioned`` says."""

    def __init__(
        self,
        store: VersionedStore[WorkflowDefinition, WorkflowSummary],
        bus: Bus,
        quotes: AgentPrices,
    ) -> None:
        self._store = store
        self._bus = bus
        self._quotes = quotes
        self._slices = Slices()
        self.uses = store.uses

    async def usable(
        self, tenant: str, name: str, version: int | None, field: str = "workflow_id"
    ) -> WorkflowDefinition:
        """Return the definition that an instance is to start with; ``not_found``."""
        if version is None:
            return await self._store.usable(tenant, name, field, lambda _: None)
        return await self._store.get(tenant, name, version)

    @answers(ApplyWorkflow)
    async def apply(self, caller: Caller, wanted: ApplyWorkflow) -> WorkflowDefinition:
        """Prove a workflow and store it, as a new one or the next version."""
        children = await self._children(caller, wanted.net)
        versions = {name: child.version for name, child in children.items()}
        wanted = msgspec.structs.replace(wanted, net=definitions.pinned(wanted.net, versions))
        proof = await self._proved(caller, wanted.net, children)
        now = self._bus.clock
        stored = await self._store.apply(
            caller.tenant,
            wanted.id,
            lambda version: definitions.create(wanted, proof, now(), version=version),
            lambda standing: definitions.update(standing, wanted, proof, now()),
        )
        return await self._changed(caller, stored)

    @answers(CheckWorkflow)
    async def check(self, caller: Caller, wanted: CheckWorkflow) -> WorkflowChecked:
        """Prove a net."""
        children = await self._children(caller, wanted.net)
        proof = await self._proved(caller, wanted.net, children)
        return WorkflowChecked(accepted=definitions.refusal(wanted.net, proof) is None, proof=proof)

    @answers(QuoteWorkflow)
    async def quote(self, caller: Caller, wanted: QuoteWorkflow) -> WorkflowQuote:
        """Say what an instance costs at most."""
        known = await self._store.get(caller.tenant, wanted.id, wanted.version)
        prices = await self._quotes.prices(caller, known.net)
        worst = worst_case(known.proof, prices)
        budget = known.net.budget
        return WorkflowQuote(
            worst_pico=worst.pico,
            executions=known.proof.executions,
            tool_calls=known.proof.tool_calls,
            lines=[
                QuotedAgent(
                    agent_id=each.agent_id, executions=each.executions, each_pico=each.each_pico
                )
                for each in worst.lines
            ],
            limit_pico=budget.limit_pico if budget is not None else None,
            findings=known.proof.findings,
        )

    @answers(GetWorkflow)
    async def get(self, caller: Caller, wanted: GetWorkflow) -> WorkflowDefinition:
        """Read a workflow, or one version of it."""
        return await self._store.get(caller.tenant, wanted.id, wanted.version)

    @answers(ListWorkflows)
    async def list(self, caller: Caller, query: ListWorkflows) -> WorkflowList:
        """List workflows."""
        return definitions.page(await self._store.rows(caller.tenant), query)

    @answers(DeleteWorkflow)
    async def delete(self, caller: Caller, wanted: DeleteWorkflow) -> WorkflowDefinition:
        """Delete a workflow softly."""
        deleted = await self._store.delete(caller.tenant, wanted.id, self._bus.clock())
        return await self._changed(caller, deleted)

    async def _proved(
        self, caller: Caller, net: NetDefinition, children: Mapping[str, WorkflowDefinition]
    ) -> NetProof:
        proofs = {name: child.proof for name, child in children.items()}
        proof = await self._slices.run(check_steps(net, proofs), caller.tenant)
        missing = definitions.unknown_agents(net, await self._quotes.missing(caller, net))
        return msgspec.structs.replace(proof, findings=[*proof.findings, *missing])

    async def _children(
        self, caller: Caller, net: NetDefinition
    ) -> Mapping[str, WorkflowDefinition]:
        """Return the workflows that a net runs, as far as they stand."""
        found: dict[str, WorkflowDefinition] = {}
        for transition in net.transitions:
            action = transition.action
            if isinstance(action, WorkflowAction) and action.workflow_id not in found:
                name, version = action.workflow_id, action.version
                try:
                    found[name] = await self._store.get(caller.tenant, name, version)
                except ProblemError:
                    continue
        return found

    async def _changed(self, caller: Caller, known: WorkflowDefinition) -> WorkflowDefinition:
        event = WorkflowDefinedEvent(
            workflow_id=known.id,
            version=known.version,
            deleted=known.deleted_at is not None,
            at=known.updated_at,
        )
        template = WorkflowDefinedEvent.SUBJECT or ""
        subject = fill(template, tenant=caller.tenant, workflow_id=known.id)
        await self._bus.outbox.post(subject, encode(event))
        return known


@asynccontextmanager
async def opened(
    bucket: Bucket[WorkflowDefinition], bus: Bus, quotas: Quotas, quotes: AgentPrices
) -> AsyncGenerator[Workflows]:
    """Open the store: while the context is open, the bucket is watched."""
    async with opened_store(KIND, bucket, quotas) as store:
        yield Workflows(store, bus, quotes)

"""How the definition of a workflow comes to be and changes. Pure.

Every function returns the new one, or the Problem. A change that changes nothing returns the
definition as it stands.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

import msgspec

from actors.workflow.core.money import agents_of
from actors.workflow.core.outward_subjects import pattern_fault, publish_fault
from schemas.nets import (
    MOST_DEFINITION_BYTES,
    EventAction,
    EventTrigger,
    NetDefinition,
    PublishAction,
    TransitionDefinition,
    WorkflowAction,
)
from schemas.problems import Problem
from schemas.versioned import changed
from schemas.workflow_definitions import (
    ApplyWorkflow,
    ListWorkflows,
    WorkflowList,
    WorkflowSummary,
)
from schemas.workflows import NetFinding, NetProof, WorkflowDefinition


def create(
    wanted: ApplyWorkflow, proof: NetProof, now: datetime, *, version: int
) -> WorkflowDefinition | Problem:
    """Build a new definition."""
    return refusal(wanted.net, proof) or WorkflowDefinition(
        id=wanted.id,
        version=version,
        created_at=now,
        updated_at=now,
        name=wanted.name or wanted.id,
        description=wanted.description,
        net=wanted.net,
        proof=proof,
    )


def update(
    standing: WorkflowDefinition, wanted: ApplyWorkflow, proof: NetProof, now: datetime
) -> WorkflowDefinition | Problem:
    """Replace all that is said of a workflow, as its next version."""
    if wanted.expected_version not in (None, standing.version):
        message = f"the workflow is at version {standing.version}"
        return Problem(code="conflict", message=message, field="expected_version")
    return refusal(wanted.net, proof) or changed(
        standing,
        now,
        name=wanted.name or wanted.id,
        description=wanted.description,
        net=wanted.net,
        proof=proof,
    )


def refusal(net: NetDefinition, proof: NetProof) -> Problem | None:
    """Return why a net is not stored: its size, an agent it may not use, an error of its proof."""
    size = len(msgspec.json.encode(net))
    if size > MOST_DEFINITION_BYTES:
        message = f"the net has {size} bytes, {MOST_DEFINITION_BYTES} are allowed"
        return Problem(code="validation", message=message, field="net")
    return forbidden_agent(net) or _foreign_subject(net) or _error(proof)


def _foreign_subject(net: NetDefinition) -> Problem | None:
    """Return the refusal of a subject that is none of a workflow's own."""
    for number, transition in enumerate(net.transitions):
        for name in ("action", "compensation"):
            field, action = f"net.transitions.{number}.{name}.subject", getattr(transition, name)
            fault = None
            if isinstance(action, PublishAction):
                fault = publish_fault(action.subject, field)
            elif isinstance(action, EventAction):
                fault = pattern_fault(action.subject, field)
            if fault is not None:
                return fault
    heard = enumerate(net.triggers)
    faults = (
        pattern_fault(each.subject, f"net.triggers.{number}.subject")
        for number, each in heard
        if isinstance(each, EventTrigger)
    )
    return next(filter(None, faults), None)


def forbidden_agent(net: NetDefinition) -> Problem | None:
    """Return the refusal of an agent that the net's own list of agents does not let it use."""
    strange = sorted(each for each in agents_of(net) if not is_allowed(net.agents, each))
    if not strange:
        return None
    message = f"{strange[0]} is none of the agents that the net may use"
    return Problem(code="forbidden", message=message, field="net.agents")


def is_allowed(patterns: Sequence[str], agent: str) -> bool:
    """Say whether patterns, in which ``*`` stands for any text, name an agent; none name all."""
    return not patterns or any(_fits(pattern, agent) for pattern in patterns)


def _fits(pattern: str, name: str) -> bool:
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    if not name.startswith(first):
        return False
    at = len(first)
    for part in rest[:-1]:
        found = name.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return len(name) - len(rest[-1]) >= at and name.endswith(rest[-1])


def _error(proof: NetProof) -> Problem | None:
    errors = [each for each in proof.findings if each.severity == "error"]
    if not errors:
        return None
    return Problem(
        code="validation",
        message=errors[0].message,
        field=errors[0].path,
        details={"findings": [msgspec.to_builtins(each) for each in proof.findings]},
    )


def pinned(net: NetDefinition, versions: Mapping[str, int]) -> NetDefinition:
    """Return a net that runs these versions of other workflows, where it names none itself."""
    replace = msgspec.structs.replace

    def under(transition: TransitionDefinition) -> TransitionDefinition:
        action = transition.action
        if not isinstance(action, WorkflowAction) or action.version is not None:
            return transition
        version = versions.get(action.workflow_id)
        return replace(transition, action=replace(action, version=version))

    return replace(net, transitions=[under(each) for each in net.transitions])


def unknown_agents(net: NetDefinition, missing: Collection[str]) -> list[NetFinding]:
    """Return warnings of agents that are not there; they may come before an instance needs them."""
    return [
        NetFinding(
            code="unknown_agent",
            severity="warning",
            path="net",
            message=f"there is no agent {agent}: apply it before an instance runs it",
        )
        for agent in sorted(agents_of(net) & set(missing))
    ]


def net_bytes(definition: WorkflowDefinition) -> tuple[bytes, str]:
    """Return a net as an instance carries it, and the digest by which it is known."""
    raw = msgspec.json.encode(definition.net)
    return raw, sha256(raw).hexdigest()[:32]


def summary(workflow: WorkflowDefinition) -> WorkflowSummary:
    """Return the row of a workflow."""
    return WorkflowSummary(
        id=workflow.id,
        name=workflow.name,
        description=workflow.description,
        version=workflow.version,
        places=len(workflow.net.places),
        transitions=len(workflow.net.transitions),
        warnings=len(workflow.proof.findings),
        updated_at=workflow.updated_at,
    )


def page(rows: Sequence[WorkflowSummary], query: ListWorkflows) -> WorkflowList:
    """Return a page of workflows by their id."""
    ordered = sorted(rows, key=lambda row: row.id)
    return WorkflowList(
        workflows=ordered[query.offset : query.offset + query.limit],
        total=len(ordered),
        limit=query.limit,
        offset=query.offset,
    )

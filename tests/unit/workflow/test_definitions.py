"""Definitions of workflows: versions, and what is not stored."""

from datetime import UTC, datetime
from typing import Any

import pytest

from actors.workflow.core import definitions
from actors.workflow.core.definitions import is_allowed
from schemas.nets import NetDefinition, WorkflowAction
from schemas.problems import Problem
from schemas.workflow_definitions import ApplyWorkflow
from schemas.workflows import NetFinding, NetProof, WorkflowDefinition
from tests.unit.workflow.instances import net_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLACES = [{"id": "a", "type": "initial"}, {"id": "z", "type": "terminal"}]


def net(action: dict[str, Any], **more: Any) -> NetDefinition:
    transition = {"id": "t", "from_places": ["a"], "to_place": "z", "action": action}
    return net_of(places=PLACES, transitions=[transition], **more)


AGENT = {"type": "agent", "agent_id": "writer", "task": "t"}


def stored(wanted: NetDefinition, proof: NetProof | None = None) -> WorkflowDefinition | Problem:
    apply = ApplyWorkflow(id="w", net=wanted)
    return definitions.create(apply, proof or NetProof(), NOW, version=1)


def test_the_same_definition_again_is_the_same_version_and_another_one_the_next() -> None:
    first = stored(net(AGENT))
    assert isinstance(first, WorkflowDefinition)
    assert (first.name, first.version) == ("w", 1)
    same = ApplyWorkflow(id="w", net=net(AGENT), expected_version=1)
    assert definitions.update(first, same, NetProof(), NOW) is first
    other = ApplyWorkflow(id="w", net=net(AGENT), name="Writing")
    second = definitions.update(first, other, NetProof(), NOW)
    assert isinstance(second, WorkflowDefinition)
    assert (second.name, second.version) == ("Writing", 2)
    stale = definitions.update(second, same, NetProof(), NOW)
    assert isinstance(stale, Problem)
    assert (stale.code, stale.field) == ("conflict", "expected_version")


def test_an_error_of_the_proof_refuses_at_its_field_with_all_findings() -> None:
    warning = NetFinding(code="w", severity="warning", path="net", message="may be")
    error = NetFinding(code="e", severity="error", path="net.places.0", message="is")
    refused = stored(net(AGENT), NetProof(findings=[warning, error]))
    assert isinstance(refused, Problem)
    assert (refused.code, refused.field) == ("validation", "net.places.0")
    assert len(refused.details["findings"]) == 2
    kept = stored(net(AGENT), NetProof(findings=[warning]))
    assert isinstance(kept, WorkflowDefinition)
    assert kept.proof.findings == [warning]


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        ([], True),
        (["writer"], True),
        (["w*r"], True),
        (["*"], True),
        (["other", "writ*"], True),
        (["write"], False),
        (["*write"], False),
        (["w*t*x"], False),
        (["writer*r"], False),
    ],
)
def test_a_workflow_uses_only_the_agents_that_it_may(patterns: list[str], allowed: bool) -> None:
    assert is_allowed(patterns, "writer") is allowed
    kept = stored(net(AGENT, agents=patterns))
    assert isinstance(kept, WorkflowDefinition) is allowed
    if isinstance(kept, Problem):
        assert (kept.code, kept.field) == ("forbidden", "net.agents")


@pytest.mark.parametrize(
    ("action", "field"),
    [
        ({"type": "publish", "subject": "agents.execute"}, "net.transitions.0.action.subject"),
        ({"type": "event", "subject": "*.x"}, "net.transitions.0.action.subject"),
    ],
)
def test_subjects_of_the_contract_are_no_workflows(action: dict[str, Any], field: str) -> None:
    refused = stored(net(action))
    assert isinstance(refused, Problem)
    assert refused.field == field


def test_what_another_workflow_is_at_is_pinned_and_agents_that_lack_are_warned_of() -> None:
    child = net({"type": "workflow", "workflow_id": "c"})
    (transition,) = definitions.pinned(child, {"c": 4}).transitions
    assert isinstance(transition.action, WorkflowAction)
    assert transition.action.version == 4
    assert definitions.pinned(definitions.pinned(child, {"c": 4}), {"c": 5}).transitions == [
        transition
    ]
    (finding,) = definitions.unknown_agents(net(AGENT), {"writer", "other"})
    assert (finding.code, finding.severity) == ("unknown_agent", "warning")


def test_a_trigger_listens_to_nobody_s_requests() -> None:
    trigger = {"type": "event", "id": "e", "subject": "workflows.start"}
    refused = stored(net(AGENT, triggers=[trigger]))
    assert isinstance(refused, Problem)
    assert refused.field == "net.triggers.0.subject"

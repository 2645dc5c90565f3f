"""The instance of a workflow, as the shard runtime sees it."""

from actors.workflow.core.decisions import decide
from actors.workflow.core.effects import answered, changes, effects
from actors.workflow.core.evolving import evolve
from actors.workflow.core.messages import INSTANCE_ENTITY, RunCommand, RunTick, Turned
from actors.workflow.core.outward import announce, record_of, retention
from actors.workflow.core.state import WorkflowInstance, has_ended, joined, split
from actors.workflow.core.ticking import due
from schemas.entity import Entity
from schemas.workflow_runs import RUN_SUBJECT

INSTANCE = Entity(
    name=INSTANCE_ENTITY,
    version=1,
    state_type=WorkflowInstance,
    command_type=RunCommand,
    event_type=Turned,
    decide=decide,
    evolve=evolve,
    effects=effects,
    changes=changes,
    announce=announce,
    due=due,
    ended=has_ended,
    record=record_of,
    record_subject=lambda tenant, key: RUN_SUBJECT.format(tenant=tenant, instance_id=key),
    answered=answered,
    tick=RunTick(),
    retention=retention,
    keeps_replies=False,
    split=split,
    joined=joined,
)

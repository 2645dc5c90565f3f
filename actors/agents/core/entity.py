"""The execution, as the shard runtime sees it."""

from collections.abc import Sequence

import msgspec

from actors.agents.core.damage import nobodys, remains
from actors.agents.core.decisions import decide, failing
from actors.agents.core.effects import answered, changes, effects
from actors.agents.core.execution import due, evolve, has_ended
from actors.agents.core.outward import announce, kept_record, left, retention
from actors.agents.core.prompts import bodies, filled
from actors.agents.core.restoring import restore
from actors.agents.core.state import Execution
from schemas.entity import Damage, Entity
from schemas.executions import RECORD_SUBJECT, ExecutionRecord
from schemas.lifecycle import EXECUTION_ENTITY, ExecutionCommand, ExecutionEvent, Tick

_record = msgspec.json.Decoder(ExecutionRecord)


def _failing(damage: Damage) -> tuple[Execution, Sequence[ExecutionEvent]]:
    """End an execution of which part cannot be read."""
    try:
        stored = _record.decode(damage.record) if damage.record is not None else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        stored = None
    origin = nobodys(damage.tenant, damage.key)
    state = remains(origin, damage.state, stored, damage.at)
    return state, failing(state, damage.problem, damage.at)


EXECUTION = Entity(
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
    record_subject=lambda tenant, key: RECORD_SUBJECT.format(tenant=tenant, execution_id=key),
    answered=answered,
    tick=Tick(),
    retention=retention,
    deletes=frozenset({"delete"}),
    left=left,
    restore=lambda tenant, data: restore(tenant, _record.decode(data)),
    failing=_failing,
    bodies=bodies,
    filled=filled,
)

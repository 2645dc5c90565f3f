"""The past of instances: history, markings of then, replays, forks, records."""

from actors.workflow.adapters.history import Histories
from actors.workflow.core import travel
from actors.workflow.core.messages import Turned
from actors.workflow.core.showing import shown_firings, shown_token
from actors.workflow.core.state import WorkflowInstance
from bus.codec import decode
from bus.errors import problem
from bus.fairness.slices import Slices
from bus.ports import Bus
from bus.subjects import fill
from schemas.workflow_runs import (
    RUN_SUBJECT,
    GetWorkflowHistory,
    WorkflowHistory,
    WorkflowReplayed,
    WorkflowRun,
    WorkflowTurn,
)


class Past:
    """Reads what is stored of instances, and goes through their turns in slices."""

    def __init__(self, bus: Bus, histories: Histories) -> None:
        self._records = bus.records
        self._histories = histories
        self._slices = Slices()

    async def history(self, tenant: str, wanted: GetWorkflowHistory) -> WorkflowHistory:
        """Return turns, and with ``at`` how the instance stood after that one.

        Raises:
            ProblemError: ``not_found``: they are not stored.
        """
        instance = wanted.instance_id
        if wanted.token is not None:
            turns = await self._histories.all(tenant, instance)
            numbered = [
                (number, turn)
                for number, turn in enumerate(turns, start=1)
                if number > wanted.after and travel.touches(turn, wanted.token)
            ][: wanted.limit]
        else:
            stored = await self._histories.some(tenant, instance, wanted.after, wanted.limit)
            numbered = [(each.turn, each.turned) for each in stored]
        if not numbered and not wanted.after:
            raise problem("not_found", "its turns are not stored", field="instance_id")
        told = WorkflowHistory(
            instance_id=instance,
            turns=[_shown(instance, number, turn) for number, turn in numbered],
            next=numbered[-1][0] if len(numbered) == wanted.limit else None,
        )
        if wanted.at is None:
            return told
        state = await self.state(tenant, instance, wanted.at)
        return WorkflowHistory(
            instance_id=instance,
            turns=told.turns,
            next=told.next,
            tokens=[shown_token(token) for token in state.marking.tokens.values()],
            firings=shown_firings(state),
        )

    async def state(self, tenant: str, instance: str, at: int) -> WorkflowInstance:
        """Return the state after a turn; raises ``not_found``."""
        turns = await self._histories.all(tenant, instance, at)
        state = await self._slices.run(travel.state_after(turns), tenant)
        if state is None:
            raise problem("not_found", "turns count from 1", field="at")
        return state

    async def replay(self, tenant: str, instance: str) -> WorkflowReplayed:
        """Decide all turns again, and compare; raises ``not_found``."""
        turns = await self._histories.all(tenant, instance)
        found = await self._slices.run(travel.replayed(turns), tenant)
        return WorkflowReplayed(
            instance_id=instance,
            turns=found.turns,
            equal=found.difference is None,
            difference=found.difference,
        )

    async def record(self, tenant: str, instance: str) -> WorkflowRun | None:
        """Return the stored record of an instance, None if there is none."""
        subject = fill(RUN_SUBJECT, tenant=tenant, instance_id=instance)
        stored = await self._records.last(subject)
        return decode(WorkflowRun, stored.data) if stored is not None else None


def _shown(instance: str, number: int, turn: Turned) -> WorkflowTurn:
    return WorkflowTurn(
        instance_id=instance,
        turn=number,
        at=turn.at,
        cause=turn.cause,
        steps=list(turn.steps),
        glance=turn.glance,
    )

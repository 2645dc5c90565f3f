"""What an instance may still spend. Pure.

An execution counts with what it has cost when it has ended, and before that with what one run of
its agent costs at most, where that is known: ``RunOrigin.worst``. What is unknown counts nothing
until it has ended, so that such an instance may go beyond its limit by what runs at that moment.
"""

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.requests import Beginning
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.tokens import Firing
from schemas import pages
from schemas.nets import AgentTransitionConfig, NetDefinition, PlaceAgentConfig, RunBudget
from schemas.problems import Problem

_WHOLE = 100


def worst_of(state: WorkflowInstance, action: Beginning) -> int:
    """Return what an attempt at an action costs at most, as far as it is known."""
    if isinstance(action, AgentTransitionConfig | PlaceAgentConfig):
        return state.origin.worst.get(action.agent_id, 0)
    return 0


def held(state: WorkflowInstance) -> int:
    """Return what all that runs costs at most, as far as it is known."""
    return sum(run.worst for run in pages.values(state.runs))


def allowance(
    state: WorkflowInstance, net: CompiledNet, firing: Firing, action: Beginning
) -> Problem | None:
    """Return why an action may not begin: the budget would not last. None if it would."""
    budget = net.definition.budget
    if budget is None:
        return None
    is_final = firing.kind != "place" and firing.name in budget.final
    kept = 0 if is_final else _reserve(budget)
    spent, runs = state.cost or 0, held(state)
    if spent + runs + max(1, worst_of(state, action)) <= budget.limit_pico - kept:
        return None
    return Problem(
        code="budget_exceeded",
        message="the budget of the instance does not last for this action",
        details={"limit": budget.limit_pico, "reserve": kept, "spent": spent, "held": runs},
    )


def meter(state: WorkflowInstance, budget: RunBudget | None) -> tuple[bool, bool] | None:
    """Return what the net is to be told of the money, None where it knows.

    That is whether to wrap up, and whether only the reserve is left.
    """
    if budget is None:
        return None
    spent = state.cost or 0
    wraps = state.marking.wrap_up or (spent * _WHOLE >= budget.limit_pico * budget.wrap_up_percent)
    is_reserve = spent >= budget.limit_pico - _reserve(budget)
    known = state.marking.wrap_up, state.marking.reserve
    return None if known == (wraps, is_reserve) else (wraps, is_reserve)


def _reserve(budget: RunBudget) -> int:
    return budget.limit_pico * budget.reserve_percent // _WHOLE


def agents_of(net: NetDefinition) -> set[str]:
    """Return the agents that a net runs."""
    found = {agent.agent_id for place in net.places for agent in place.agents}
    for transition in net.transitions:
        for action in (transition.action, transition.agent_execution, transition.compensation):
            if isinstance(action, AgentTransitionConfig):
                found.add(action.agent_id)
    return found

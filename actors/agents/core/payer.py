"""Who pays for an execution: the account of its tenant, in its scopes."""

from actors.agents.core.state import Execution
from schemas.bills import Payer
from schemas.ledger import Party
from schemas.lifecycle import Origin


def party(origin: Origin) -> Party:
    """Return on whose behalf an execution spends."""
    return Party(
        user=origin.user,
        project=origin.project,
        agent_id=origin.agent_id,
        session=origin.session,
    )


def payer(state: Execution) -> Payer:
    """Return what the account knows an execution by."""
    origin = state.origin
    return Payer(origin.tenant, origin.execution_id, party(origin), state.deadline)

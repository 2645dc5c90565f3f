"""What an execution asks of other entities, and what the answers mean to it."""

from datetime import timedelta

import msgspec

from actors.agents.core.dues import Due, number_of, party
from actors.agents.core.execution import Execution
from schemas.attempts import Attempt
from schemas.callbacks import CallbackAnswered, Ended
from schemas.decision import Ask
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, Reference, Reserve, Settle, Void
from schemas.lifecycle import DueAnswered, ReserveAnswered, Spending
from schemas.problems import Problem

GRACE = timedelta(seconds=60)
"""How long after its deadline an execution may still tell what it has spent: its worker has ended
by then, and a shard finds a new owner within seconds."""

_problem = msgspec.json.Decoder(Problem)


def leave_name(state: Execution, current: Attempt) -> str:
    """Return the id under which leave is asked for to spend what the current attempt may cost."""
    name = f"{state.origin.execution_id}.{state.step}.{current.attempt}.reserve"
    return f"{name}.{state.reserves}"


def ask_leave(state: Execution, spending: Spending, current: Attempt) -> Ask:
    """Return the question for leave to spend what the current attempt may cost."""
    reserve = _reserve(state, current.attempt, spending)
    return _ask(state, leave_name(state, current), reserve, urgent=True)


def ask_due(state: Execution, due: Due) -> Ask:
    """Return what tells the account a bill, or of a hold to be let go."""
    return _ask(state, due.ask, due.command, urgent=due.urgent)


def answered(ask: Ask, answer: bytes) -> ReserveAnswered | DueAnswered | CallbackAnswered:
    """Return the command that tells an execution what the account, or who waits, has answered."""
    problem = _problem.decode(answer) if answer.startswith(b'{"type":"problem"') else None
    if isinstance(ask.command, Ended):
        return CallbackAnswered(problem=problem)
    if not isinstance(ask.command, Reserve):
        return DueAnswered(ask=ask.id, problem=problem)
    reference = ask.command.reference
    return ReserveAnswered(
        work=str(reference.step),
        attempt=reference.attempt,
        asked=int(ask.id.rpartition(".")[2]),
        problem=problem,
    )


def _ask(state: Execution, name: str, command: Reserve | Settle | Void, *, urgent: bool) -> Ask:
    return Ask(
        id=name,
        entity=ACCOUNT_ENTITY,
        tenant=state.origin.tenant,
        key=ACCOUNT_KEY,
        since=command.reference.at,
        command=command,
        urgent=urgent,
    )


def _reserve(state: Execution, attempt: int, spending: Spending) -> Reserve:
    return Reserve(
        reference=Reference(
            execution_id=state.origin.execution_id,
            step=number_of(state.step),
            attempt=attempt,
            at=state.decided_at or state.accepted_at,
        ),
        party=party(state.origin),
        amount_pico=spending.amount_pico,
        tokens=spending.tokens,
        lease_until=state.deadline + GRACE,
        platform=spending.platform,
        lent_pico=spending.lent_pico,
        chunk_pico=spending.chunk_pico,
    )

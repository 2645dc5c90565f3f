"""What an execution asks of the account of its tenant, and what the answers mean to it."""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from actors.agents.core.dues import number_of, party
from actors.agents.core.execution import Execution
from schemas.decision import Ask
from schemas.ledger import ACCOUNT_ENTITY, ACCOUNT_KEY, Reference, Reserve, Settle, Void
from schemas.lifecycle import DueAnswered, ReserveAnswered, Spending
from schemas.problems import Problem

GRACE = timedelta(seconds=60)
"""How long after its deadline an execution may still tell what it has spent: its worker has ended
by then, and a shard finds a new owner within seconds."""

_problem = msgspec.json.Decoder(Problem)


def asks(state: Execution) -> Iterator[Ask]:
    """Yield what is open: leave to spend, bills, holds to be let go."""
    current, spending = state.current, state.spending
    if spending is not None and current is not None and state.phase == "reserving":
        name = f"{state.origin.execution_id}.{state.step}.{current.attempt}.reserve"
        reserve = _reserve(state, current.attempt, spending)
        yield _ask(state, f"{name}.{state.reserves}", reserve)
    for due in state.dues:
        if due.retry_at is None:
            yield _ask(state, due.ask, due.command)


def answered(ask: Ask, answer: bytes) -> ReserveAnswered | DueAnswered:
    """Return the command that tells an execution what the account has answered."""
    problem = _problem.decode(answer) if answer.startswith(b'{"type":"problem"') else None
    if not isinstance(ask.command, Reserve):
        return DueAnswered(ask=ask.id, problem=problem)
    reference = ask.command.reference
    return ReserveAnswered(
        work=str(reference.step),
        attempt=reference.attempt,
        asked=int(ask.id.rpartition(".")[2]),
        problem=problem,
    )


def _ask(state: Execution, name: str, command: Reserve | Settle | Void) -> Ask:
    return Ask(
        id=name,
        entity=ACCOUNT_ENTITY,
        tenant=state.origin.tenant,
        key=ACCOUNT_KEY,
        since=state.current.at if state.current else state.accepted_at,
        command=command,
        # Where there is a budget, others may wait for what this leaves of it.
        urgent=state.spending is not None,
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

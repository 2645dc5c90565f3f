"""Having more money held for an attempt while its stream goes on."""

import anyio

from actors.streaming.flow.attempt import Grant
from bus.errors import ProblemError, problem
from bus.requests.rpc import Owners, command
from schemas.journal import CommandEnvelope
from schemas.ledger import ACCOUNT_KEY, Extend
from schemas.lifecycle import GenerateWork

PATIENCE = 10.0
"""Seconds in which an account finds a new owner, with much to spare, or money of the platform."""

PAUSE = 0.1


def spending_guard(accounts: Owners) -> Grant:
    """Return what asks the account of an execution's tenant."""

    async def grant(work: GenerateWork, extend: Extend) -> None:
        name = f"{work.execution_id}.{work.step}.{work.attempt}.extend.{extend.slice}"
        envelope = command(name, work.tenant, ACCOUNT_KEY, extend)
        with anyio.move_on_after(PATIENCE):
            while not await _answered(accounts, envelope):  # noqa: ASYNC110  there is nothing to be woken by
                await anyio.sleep(PAUSE)
            return
        raise problem("unavailable", "the account of the tenant has not answered")

    return grant


async def _answered(accounts: Owners, envelope: CommandEnvelope) -> bool:
    """Ask; what is only on its way is no answer yet. Raises ``ProblemError`` of a refusal."""
    try:
        await accounts.ask(envelope, timeout=PATIENCE)
    except ProblemError as refused:
        if refused.problem.code == "unavailable":
            return False
        raise
    return True

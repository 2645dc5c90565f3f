"""Having more money held for an attempt while its stream goes on."""

from actors.streaming.adapters.attempt import Grant
from bus.rpc import Owners, command
from schemas.ledger import ACCOUNT_KEY, Extend
from schemas.lifecycle import GenerateWork

PATIENCE = 10.0
"""Seconds in which an account finds a new owner, with much to spare."""


def granting(accounts: Owners) -> Grant:
    """Return what asks the account of an execution's tenant."""

    async def grant(work: GenerateWork, extend: Extend) -> None:
        name = f"{work.execution_id}.{work.step}.{work.attempt}.extend.{extend.slice}"
        mail = command(name, work.tenant, ACCOUNT_KEY, extend)
        await accounts.ask(mail, timeout=PATIENCE)

    return grant

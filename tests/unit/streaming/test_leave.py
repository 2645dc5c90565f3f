"""Leave to spend on embeddings, by what the process knows of budgets."""

from datetime import timedelta

import pytest

from actors.streaming.adapters.leave import Leave, Purse
from bus.config import Timing
from bus.errors import ProblemError, problem
from bus.memory import memory_bus
from bus.prices import shipped_text
from bus.rpc import Owners
from bus.terms import KnownTerms
from schemas.embeddings import Embed, EmbedWork
from schemas.ids import PLATFORM
from schemas.journal import Mail
from schemas.ledger import ACCOUNT_ENTITY
from schemas.pricing.prices import Prices
from schemas.providers import OpenAI
from schemas.terms import Restriction, Terms
from schemas.usage import Usage
from tests.unit.agents.samples import NOW

PRICES = Prices(shipped_text())
HARD = Restriction(money=True)
WORK = EmbedWork(
    id="e1",
    tenant="acme",
    reply="r",
    wanted=Embed(provider=OpenAI(model="text-embedding-3-small"), texts=["Hello."], user="ann"),
    at=NOW,
    deadline=NOW + timedelta(seconds=60),
    most=Usage(input=10),
)


class Granting(Owners):
    """Accounts that grant whatever is asked of them."""

    mails: list[Mail]

    async def ask(self, mail: Mail, *, timeout: float) -> bytes:
        del timeout
        self.mails.append(mail)
        return b'{"type":"held","held_pico":1}'


async def asked(terms: Terms | None, *, known: bool = True) -> list[str]:
    """Return what an account is asked before an embedding call begins."""
    told = KnownTerms("one")
    if terms is not None:
        told.keep(terms)

    async def wait() -> None:
        if not known:
            raise problem("unavailable", "the terms of tenants are not known", retryable=True)

    async with memory_bus() as world, world.process() as bus:
        accounts = Granting(bus.transport, ACCOUNT_ENTITY, 1, Timing())
        accounts.mails = []
        leave = Leave(bus, Purse(accounts, told, wait), lambda: PRICES)
        try:
            is_held = await leave.hold(WORK)
        except ProblemError as error:
            return [f"refused: {error.problem.code}"]
        assert is_held == bool(accounts.mails)
        return [mail.tenant for mail in accounts.mails]


@pytest.mark.parametrize(
    "terms",
    [
        None,
        Terms(tenant="acme", revision=1),
        Terms(tenant="bolt", revision=1, restrictions=[HARD]),
        Terms(tenant="acme", revision=1, restrictions=[Restriction()]),
        Terms(tenant="acme", revision=1, restrictions=[Restriction(scope="user", name="bob")]),
    ],
)
async def test_where_no_budget_holds_no_account_is_asked(terms: Terms | None):
    assert await asked(terms) == []


@pytest.mark.parametrize(
    "terms",
    [
        Terms(tenant="acme", revision=1, restrictions=[HARD]),
        Terms(
            tenant="acme",
            revision=1,
            restrictions=[Restriction(scope="user", name="*", money=True)],
        ),
        Terms(tenant=PLATFORM, revision=1, restrictions=[HARD]),
    ],
)
async def test_where_one_holds_the_account_of_the_tenant_is_asked_first(terms: Terms):
    assert await asked(terms) == ["acme"]


@pytest.mark.parametrize("terms", [None, Terms(tenant="acme", revision=1, restrictions=[HARD])])
async def test_as_long_as_that_is_not_known_nothing_is_spent(terms: Terms | None):
    assert await asked(terms, known=False) == ["refused: unavailable"]

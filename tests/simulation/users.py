"""What users of a history do. Each asks until it is answered or out of patience."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from bus.errors import ProblemError
from bus.requests.rpc import Owners, command
from schemas.ledger import ACCOUNT_KEY
from schemas.lifecycle import Accept, Cancel, Delete, Look, Origin
from schemas.llm import GenerateRequest, ModelConfig
from schemas.providers import Scripted
from schemas.tools import ToolPlan
from tests.simulation import account, ledger, waiting
from tests.simulation.lending import Borrower
from tests.simulation.prompts import Prompts, is_large
from tests.simulation.roles import TENANT
from tests.simulation.site import Site
from tests.simulation.spending import spending_of
from tests.simulation.tools import PLAN

PATIENCE = 8.0
SPENDING = ("sets a budget", "reserves", "settles", "voids")


class User:
    """Asks for executions and transfers."""

    def __init__(
        self,
        site: Site,
        executions: Owners,
        accounts: Owners,
        money: Owners,
        parents: Owners,
        borrower: Borrower,
        prompts: Prompts,
    ) -> None:
        self.waiting = 0
        self._site = site
        self._executions = executions
        self._accounts = accounts
        self._money = money
        self._parents = parents
        self._prompts = prompts
        self.actions: dict[str, Callable[..., Awaitable[Any]]] = {
            "executes": self.execute,
            "cancels": self.cancel,
            "looks at": self.look,
            "deletes": self.delete,
            "gathers": self.gather,
            "orders": self.order,
            "calls off": self.call_off,
            "breaks": self.break_,
            "sets the platform's budget": borrower.set_budget,
            "borrows": borrower.borrow,
            "borrows in peace": borrower.borrow_in_peace,
            **{what: partial(self.spend, what) for what in SPENDING},
        }

    async def act(self, who: str, what: str, values: Mapping[str, Any]) -> None:
        """Do something and note a refusal."""
        self.waiting += 1
        try:
            await self.actions[what](who, **values)
        except ProblemError as refused:
            self._site.trace.note(who, f"is refused: {what} {values}: {refused}")
        finally:
            self.waiting -= 1

    async def execute(
        self,
        who: str,
        key: str,
        digest: str,
        timeout: float,
        most: int | None = None,
        slice: int | None = None,  # noqa: A002  it is one
        waits: bool = False,
        *,
        tools: bool = False,
        plan: ToolPlan | None = None,
    ) -> None:
        origin = Origin(
            tenant=TENANT,
            execution_id=key,
            agent_id="greeter",
            agent_version=1,
            task="Say hello.",
            digest=digest,
            max_attempts=3,
            user=who if most else None,
        )
        config = ModelConfig(max_tokens=most)
        request = GenerateRequest(
            provider=Scripted(responses=["Hello."]), messages=[], config=config
        )
        spending = spending_of(most, slice, waits=waits) if most else None
        body = Accept(
            origin=origin,
            request=request,
            timeout_seconds=timeout,
            spending=spending,
            tools=PLAN if tools else plan,
        )
        if spending is None and is_large(key, digest):
            body = await self._prompts.stored(body, patience=PATIENCE)
        envelope = command("accept", TENANT, key, body, digest=digest)
        await self._executions.ask(envelope, timeout=PATIENCE)

    async def cancel(self, who: str, key: str) -> None:
        envelope = command(f"cancel.{who}", TENANT, key, Cancel(reason="enough"))
        await self._executions.ask(envelope, timeout=PATIENCE)

    async def look(self, who: str, key: str) -> None:
        del who
        await self._executions.ask(command("", TENANT, key, Look()), timeout=PATIENCE)

    async def delete(self, who: str, key: str) -> None:
        envelope = command(f"delete.{who}", TENANT, key, Delete())
        await self._executions.ask(envelope, timeout=PATIENCE)

    async def gather(self, who: str, key: str, **values: Any) -> None:
        del who
        wanted = waiting.Gather(tenant=TENANT, key=key, **values)
        await self._parents.ask(command("gather", TENANT, key, wanted), timeout=PATIENCE)

    async def order(
        self,
        who: str,
        key: str,
        transfer: str,
        to: str,
        amount: int,
        wait: float,
        direct: bool = False,
    ) -> None:
        del who
        body = account.Order(
            account=key,
            tenant=TENANT,
            transfer=transfer,
            to=to,
            amount=amount,
            wait_seconds=wait,
            direct=direct,
        )
        envelope = command(f"order.{transfer}", TENANT, key, body)
        await self._accounts.ask(envelope, timeout=PATIENCE)

    async def call_off(self, who: str, key: str, transfer: str) -> None:
        envelope = command(f"off.{transfer}.{who}", TENANT, key, account.CallOff(transfer=transfer))
        await self._accounts.ask(envelope, timeout=PATIENCE)

    async def break_(self, who: str, key: str) -> None:
        await self._accounts.ask(
            command(f"break.{who}", TENANT, key, account.Break()), timeout=PATIENCE
        )

    async def spend(self, what: str, who: str, **values: Any) -> None:
        """Ask something of the ledger."""
        wanted = ledger.command_of(what, values)
        envelope = command(f"{what}.{values['key']}.{who}", TENANT, ACCOUNT_KEY, wanted)
        await self._money.ask(envelope, timeout=PATIENCE)

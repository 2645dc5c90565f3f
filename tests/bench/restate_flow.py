"""The flow of ``flow_entity`` as a service of Restate, run by the peer's own interpreter."""

import asyncio
import os
from importlib import import_module
from pathlib import Path
from typing import Any

# It is there only in the environment of the peer.
restate: Any = import_module("restate")

LEDGER = os.environ.get("FLOW_LEDGER")
flows = restate.Service("flows")


@flows.handler()
async def start(context: Any, seconds: float) -> int:
    """Do three steps, each journalled, and return what the last has returned."""
    name, value = context.request().id, 0
    for number in (1, 2, 3):

        async def step(number: int = number, before: int = value) -> int:
            note("begun", name, number)
            if seconds:
                await asyncio.sleep(seconds)  # noqa: TID251  the peer runs on asyncio alone
            note("ended", name, number)
            return before + 1

        value = await context.run_typed(f"step-{number}", step)
    return value


def note(what: str, name: str, number: int) -> None:
    """Write into the ledger, if there is one, what happens to a step."""
    if LEDGER:
        with Path(LEDGER).open("a", encoding="ascii") as file:
            file.write(f"{what} {name}.{number}\n")


app = restate.app(services=[flows])

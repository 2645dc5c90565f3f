"""About fifty executions at a time, until told to stop."""

from random import Random

import anyio
from anyio.abc import TaskGroup

from bus.ids import new_id
from schemas.agents import ApplyAgent
from schemas.executions import ExecuteAgent
from schemas.providers import Custom, Scripted, ScriptedCalls
from tests.chaos.clients import ChaosClient
from tests.chaos.provider import MODEL, TASK

SCRIPTS = 3
RESPONSES = 4
AT_ONCE = 50
WRITTEN_DOWN, WRITTEN_DOWN_SHARE = "chaos-ledger", 0.7
ASKED_TWICE_SHARE = 0.3
FOLLOWED_SHARE = 0.2

_SENTENCE = (
    "the bus carries every word once and no process that dies in the middle of a sentence may "
    "lose or double what a reader has seen because the journal alone decides which attempt counts"
)


class Load:
    """Two clients that ask agents: most of them one whose provider keeps a ledger.

    Others play scripts, and their executions have no id of the client's. ``given`` are those that
    have one and were asked for twice since the last start.
    """

    def __init__(self, clients: list[ChaosClient], provider_url: str, chance: Random) -> None:
        self._clients = clients
        self._chance = chance
        self._stopping = False
        provider = Custom(model=MODEL, base_url=provider_url)
        self.scripts = {f"chaos-{number}": self._script(number) for number in range(SCRIPTS)}
        self.agents = {WRITTEN_DOWN: provider, **self.scripts}
        self.given: dict[str, ExecuteAgent] = {}

    async def prepare(self) -> None:
        """Make the agents."""
        for name, provider in self.agents.items():
            await self._clients[0].ask(ApplyAgent(id=name, provider=provider))

    def start(self, tasks: TaskGroup) -> None:
        """Begin to execute."""
        self._stopping = False
        self.given.clear()
        for _ in range(AT_ONCE):
            tasks.start_soon(self._one_after_another)

    def stop(self) -> None:
        """Begin nothing more; what runs goes on to its end."""
        self._stopping = True

    async def _one_after_another(self) -> None:
        await anyio.sleep(self._chance.random())
        while not self._stopping:
            twice = self._chance.random() < ASKED_TWICE_SHARE
            ask = self._ask_twice if twice else self._ask_once
            if self._chance.random() < WRITTEN_DOWN_SHARE:
                await ask(_to_be_written_down())
            else:
                agent = self._chance.choice(list(self.scripts))
                given = f"given-{new_id()}" if twice else None
                await ask(ExecuteAgent(agent_id=agent, task="Say it.", id=given))

    async def _ask_once(self, wanted: ExecuteAgent) -> None:
        client = self._chance.choice(self._clients)
        execution = await client.execute(wanted)
        if execution is None:
            return
        if self._chance.random() < FOLLOWED_SHARE:
            await client.follow(execution)
        else:
            await client.read(execution)

    async def _ask_twice(self, wanted: ExecuteAgent) -> None:
        self.given[wanted.id or ""] = wanted

        async def ask(client: ChaosClient) -> None:
            execution = await client.execute(wanted)
            if execution is not None:
                await client.read(execution)

        async with anyio.create_task_group() as tasks:
            for client in self._clients:
                tasks.start_soon(ask, client)

    def _script(self, number: int) -> Scripted:
        responses: list[str | ScriptedCalls] = [
            f"{number}-{turn}: "
            + " ".join(self._chance.choices(_SENTENCE.split(), k=self._length()))
            for turn in range(RESPONSES)
        ]
        return Scripted(responses=responses, delay_ms=self._chance.randint(20, 60))

    def _length(self) -> int:
        return self._chance.randint(20, 60)


def _to_be_written_down() -> ExecuteAgent:
    execution = f"written-{new_id()}"
    return ExecuteAgent(agent_id=WRITTEN_DOWN, task=TASK.format(execution), id=execution)

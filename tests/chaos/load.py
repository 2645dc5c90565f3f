"""About fifty executions at a time, until told to stop."""

from random import Random

import anyio
from anyio.abc import TaskGroup

from bus.ids import new_id
from schemas.agents import ApplyAgent
from schemas.executions import ExecuteAgent
from schemas.providers import Scripted
from tests.chaos.clients import ChaosClient

AGENTS = 6
RESPONSES = 4
AT_ONCE = 50
GIVEN_ID_SHARE = 0.3
FOLLOWED_SHARE = 0.2

_SENTENCE = (
    "the bus carries every word once and no process that dies in the middle of a sentence may "
    "lose or double what a reader has seen because the journal alone decides which attempt counts"
)


class Load:
    """Two clients that ask agents of scripted providers."""

    def __init__(self, clients: list[ChaosClient], chance: Random) -> None:
        self._clients = clients
        self._chance = chance
        self._stopping = False
        self.scripts = {f"chaos-{number}": self._script(number) for number in range(AGENTS)}
        self.given: dict[str, ExecuteAgent] = {}

    async def prepare(self) -> None:
        """Make the agents."""
        for name, script in self.scripts.items():
            await self._clients[0].ask(ApplyAgent(id=name, provider=script))

    def start(self, tasks: TaskGroup) -> None:
        """Begin to execute."""
        for _ in range(AT_ONCE):
            tasks.start_soon(self._one_after_another)

    def stop(self) -> None:
        """Begin nothing more; what runs goes on to its end."""
        self._stopping = True

    async def _one_after_another(self) -> None:
        await anyio.sleep(self._chance.random())
        while not self._stopping:
            agent = self._chance.choice(list(self.scripts))
            if self._chance.random() < GIVEN_ID_SHARE:
                await self._ask_twice(agent)
            else:
                await self._ask_once(agent)

    async def _ask_once(self, agent: str) -> None:
        client = self._chance.choice(self._clients)
        execution = await client.execute(ExecuteAgent(agent_id=agent, task="Say it."))
        if execution is None:
            return
        if self._chance.random() < FOLLOWED_SHARE:
            await client.follow(execution)
        else:
            await client.read(execution)

    async def _ask_twice(self, agent: str) -> None:
        wanted = ExecuteAgent(agent_id=agent, task="Say it.", id=f"given-{new_id()}")
        self.given[wanted.id or ""] = wanted

        async def ask(client: ChaosClient) -> None:
            execution = await client.execute(wanted)
            if execution is not None:
                await client.read(execution)

        async with anyio.create_task_group() as tasks:
            for client in self._clients:
                tasks.start_soon(ask, client)

    def _script(self, number: int) -> Scripted:
        responses = [
            f"{number}-{turn}: "
            + " ".join(self._chance.choices(_SENTENCE.split(), k=self._length()))
            for turn in range(RESPONSES)
        ]
        return Scripted(responses=responses, delay_ms=self._chance.randint(20, 60))

    def _length(self) -> int:
        return self._chance.randint(20, 60)

"""The store of definitions on a bucket in memory, with a watch that can lag."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.agents.adapters.definitions import Definitions
from bus.errors import ProblemError, UnavailableError
from bus.kv import BucketEntry, BucketWatch, MemoryBucket, Watcher
from schemas.agents import (
    AgentDefinition,
    ApplyAgent,
    CreateAgent,
    DeleteAgent,
    GetAgent,
    ToggleAgent,
    UpdateAgent,
)
from schemas.problems import ProblemCode
from schemas.providers import OpenAI
from tests.unit.agents.samples import agent, opened

PROVIDER = OpenAI(model="gpt-4o-mini")
CREATE = CreateAgent(id="reviewer", provider=PROVIDER)


class Bucket(MemoryBucket[AgentDefinition]):
    """Counts its reads. While ``lagging``, notices wait; while not ``fresh``, the watch says so."""

    def __init__(self) -> None:
        super().__init__(AgentDefinition)
        self.reads = 0
        self.fresh = True
        self.lagging = False
        self.waiting: list[tuple[Watcher[AgentDefinition], BucketEntry[AgentDefinition]]] = []

    async def get(self, key: str) -> BucketEntry[AgentDefinition] | None:
        self.reads += 1
        return await super().get(key)

    @asynccontextmanager
    async def watch(
        self, pattern: str, watcher: Watcher[AgentDefinition]
    ) -> AsyncGenerator[BucketWatch]:
        async with super().watch(pattern, _Lag(self, watcher)):
            yield _State(self)

    def deliver(self) -> None:
        waiting, self.waiting = self.waiting, []
        for watcher, entry in waiting:
            watcher.changed(entry)


class _Lag:
    def __init__(self, bucket: Bucket, watcher: Watcher[AgentDefinition]) -> None:
        self._bucket = bucket
        self._watcher = watcher

    def changed(self, entry: BucketEntry[AgentDefinition]) -> None:
        if self._bucket.lagging:
            self._bucket.waiting.append((self._watcher, entry))
        else:
            self._watcher.changed(entry)

    def removed(self, key: str, revision: int) -> None:
        self._watcher.removed(key, revision)

    def cleared(self) -> None:
        self._watcher.cleared()


class _State:
    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    @property
    def fresh(self) -> bool:
        return self._bucket.fresh

    async def catch_up(self, *, timeout: float) -> None:
        if not self._bucket.fresh:
            raise UnavailableError("bucket", f"silent for {timeout} s")
        self._bucket.deliver()


@asynccontextmanager
async def _stores(bucket: Bucket) -> AsyncGenerator[tuple[Definitions, Definitions]]:
    """Two processes on one bucket."""
    async with opened(bucket) as one, opened(bucket) as other:
        yield one, other


async def _refused(call: Any) -> tuple[ProblemCode, str | None]:
    with pytest.raises(ProblemError) as refused:
        await call
    return refused.value.problem.code, refused.value.problem.field


async def test_what_one_process_applies_every_process_reads_at_once():
    bucket = Bucket()
    async with _stores(bucket) as (one, other):
        bucket.lagging = True

        stored = await one.apply("acme", ApplyAgent(id="reviewer", provider=PROVIDER))

        assert stored == agent(name="reviewer")
        assert await other.get("acme", GetAgent(id="reviewer")) == stored
        assert [row.id for row in await other.rows("acme")] == ["reviewer"]


async def test_an_agent_that_is_only_in_the_bucket_is_executed_before_the_watch_tells():
    bucket = Bucket()
    async with _stores(bucket) as (one, other):
        bucket.lagging = True
        stored = await one.create("acme", CREATE)

        assert await other.executable("acme", "reviewer") == stored


async def test_a_process_executes_its_own_change_before_the_watch_tells():
    bucket = Bucket()
    async with _stores(bucket) as (one, _):
        await one.create("acme", CREATE)
        bucket.lagging = True

        changed = await one.apply("acme", ApplyAgent(id="reviewer", name="Critic"))

        assert await one.executable("acme", "reviewer") == changed


async def test_executing_a_known_agent_reads_nothing():
    bucket = Bucket()
    async with _stores(bucket) as (one, other):
        stored = await one.create("acme", CREATE)
        bucket.reads = 0

        assert [await other.executable("acme", "reviewer") for _ in range(9)] == [stored] * 9
        assert bucket.reads == 0


async def test_a_watch_that_is_not_fresh_is_not_trusted():
    bucket = Bucket()
    async with _stores(bucket) as (one, other):
        await one.create("acme", CREATE)
        bucket.lagging, bucket.fresh = True, False
        changed = await one.apply("acme", ApplyAgent(id="reviewer", name="Critic"))

        assert await other.executable("acme", "reviewer") == changed
        with pytest.raises(UnavailableError):
            await other.rows("acme")


async def test_nothing_is_refused_from_memory_alone():
    bucket = Bucket()
    async with _stores(bucket) as (one, other):
        await one.create("acme", CREATE)
        await one.toggle("acme", ToggleAgent(id="reviewer", status="OFFLINE"))
        bucket.lagging = True
        online = await one.toggle("acme", ToggleAgent(id="reviewer", status="IDLE"))

        assert await other.executable("acme", "reviewer") == online


async def test_an_offline_or_deleted_or_unknown_agent_is_not_executed():
    async with _stores(Bucket()) as (one, other):
        await one.create("acme", CREATE)
        await one.toggle("acme", ToggleAgent(id="reviewer", status="OFFLINE"))
        assert await _refused(other.executable("acme", "reviewer")) == ("conflict", "agent_id")

        await one.delete("acme", DeleteAgent(id="reviewer"))
        assert await _refused(other.executable("acme", "reviewer")) == ("not_found", "agent_id")
        assert await _refused(other.executable("acme", "nobody")) == ("not_found", "agent_id")
        assert await _refused(other.executable("umbrella", "reviewer")) == ("not_found", "agent_id")


async def test_an_agent_is_created_once():
    async with _stores(Bucket()) as (one, other):
        await one.create("acme", CREATE)

        assert await _refused(other.create("acme", CREATE)) == ("conflict", "id")


async def test_applying_the_same_again_is_no_new_version():
    async with _stores(Bucket()) as (one, other):
        wanted = ApplyAgent(id="reviewer", provider=PROVIDER, name="Critic")
        first = await one.apply("acme", wanted)

        assert await other.apply("acme", wanted) == first


async def test_an_update_needs_an_agent_and_the_version_it_expects():
    async with _stores(Bucket()) as (one, _):
        update = UpdateAgent(id="reviewer", name="Critic", expected_version=1)
        assert await _refused(one.update("acme", update)) == ("not_found", "id")

        await one.create("acme", CREATE)
        assert (await one.update("acme", update)).version == 2
        assert await _refused(one.update("acme", update)) == ("conflict", "expected_version")


async def test_a_deleted_agent_is_gone_but_its_versions_remain():
    async with _stores(Bucket()) as (one, other):
        first = await one.create("acme", CREATE)
        second = await one.apply("acme", ApplyAgent(id="reviewer", name="Critic"))
        deleted = await one.delete("acme", DeleteAgent(id="reviewer"))

        assert await _refused(other.get("acme", GetAgent(id="reviewer"))) == ("not_found", "id")
        assert await other.rows("acme") == []
        versions = [
            await other.get("acme", GetAgent(id="reviewer", version=version))
            for version in (1, 2, 3)
        ]
        assert versions == [first, second, deleted]
        assert await _refused(other.get("acme", GetAgent(id="reviewer", version=4))) == (
            "not_found",
            "version",
        )


async def test_a_deleted_agent_can_only_be_made_anew():
    async with _stores(Bucket()) as (one, _):
        await one.create("acme", CREATE)
        deleted = await one.delete("acme", DeleteAgent(id="reviewer"))

        update = UpdateAgent(id="reviewer", name="Critic")
        toggle = ToggleAgent(id="reviewer", status="OFFLINE")
        assert await _refused(one.update("acme", update)) == ("not_found", "id")
        assert await _refused(one.toggle("acme", toggle)) == ("not_found", "id")
        assert await one.delete("acme", DeleteAgent(id="reviewer")) == deleted

        revived = await one.create("acme", CREATE)
        assert (revived.version, revived.deleted_at) == (3, None)
        assert await one.get("acme", GetAgent(id="reviewer")) == revived


async def test_deleting_what_never_was_is_not_found():
    async with _stores(Bucket()) as (one, _):
        assert await _refused(one.delete("acme", DeleteAgent(id="reviewer"))) == (
            "not_found",
            "id",
        )


async def test_tenants_have_agents_of_their_own():
    async with _stores(Bucket()) as (one, _):
        await one.create("acme", CREATE)
        await one.create("umbrella", CreateAgent(id="reviewer", provider=PROVIDER, name="Theirs"))

        assert (await one.get("acme", GetAgent(id="reviewer"))).name == "reviewer"
        assert [row.name for row in await one.rows("umbrella")] == ["Theirs"]

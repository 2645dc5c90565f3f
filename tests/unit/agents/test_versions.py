"""The store of versions on a bucket in memory that fails as a test wants."""

from collections.abc import Awaitable, Callable
from datetime import datetime

import anyio
import pytest

from actors.agents.core import definitions
from bus.errors import DeadlineError, ProblemError, UnavailableError
from bus.kv import MemoryBucket
from bus.kv.versions import MAX_TRIES, Versions
from schemas.agents import AgentDefinition
from schemas.problems import Problem
from tests.unit.agents.samples import NOW, agent, later, wanted

Fault = Callable[[str], Awaitable[None]]


class Faulty(MemoryBucket[AgentDefinition]):
    """Calls ``before`` and ``after`` each write of a head; both may raise or write themselves."""

    def __init__(self) -> None:
        super().__init__(AgentDefinition)
        self.before: list[Fault] = []
        self.after: list[Fault] = []

    async def put(self, key: str, value: AgentDefinition, *, expected: int) -> int:
        is_head = key.count(".") == 1
        if is_head and self.before:
            await self.before.pop(0)(key)
        revision = await super().put(key, value, expected=expected)
        if is_head and self.after:
            await self.after.pop(0)(key)
        return revision


async def _lost(key: str) -> None:
    raise UnavailableError(key, "no answer")


def _renamed(name: str, now: datetime = NOW) -> Callable[[AgentDefinition | None], AgentDefinition]:
    def change(standing: AgentDefinition | None) -> AgentDefinition:
        if standing is None:
            return agent(name=name)
        changed = definitions.update(standing, wanted(name=name), now)
        assert isinstance(changed, AgentDefinition)
        return changed

    return change


def _interfering(bucket: Faulty, name: str) -> Fault:
    async def interfere(_: str) -> None:
        await Versions(bucket).replace("acme", "reviewer", _renamed(name))

    return interfere


async def _all(bucket: Faulty) -> list[str]:
    """The names under which the agent was known, by version."""
    versions = Versions(bucket)
    head = await versions.head("acme", "reviewer")
    assert head is not None
    earlier = [
        await versions.archived("acme", "reviewer", version)
        for version in range(1, head.value.version)
    ]
    return [definition.name if definition else "?" for definition in (*earlier, head.value)]


async def test_every_version_stays_readable():
    bucket = Faulty()
    versions = Versions(bucket)

    for name in ("a", "b", "c"):
        await versions.replace("acme", "reviewer", _renamed(name))

    assert await _all(bucket) == ["a", "b", "c"]
    assert await versions.archived("acme", "reviewer", 9) is None


async def test_a_change_that_changes_nothing_stores_nothing():
    bucket = Faulty()
    versions = Versions(bucket)
    first = await versions.replace("acme", "reviewer", _renamed("a"))

    again = await versions.replace("acme", "reviewer", _renamed("a"))

    assert again == first


async def test_a_change_that_is_refused_stores_nothing():
    bucket = Faulty()
    problem = Problem(code="conflict", message="no")

    with pytest.raises(ProblemError) as refused:
        await Versions(bucket).replace("acme", "reviewer", lambda _: problem)

    assert refused.value.problem == problem
    assert await Versions(bucket).head("acme", "reviewer") is None


async def test_a_change_is_made_again_on_what_a_faster_writer_left():
    bucket = Faulty()
    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))
    bucket.before = [_interfering(bucket, "faster")]

    await Versions(bucket).replace("acme", "reviewer", _renamed("slower"))

    assert await _all(bucket) == ["a", "faster", "slower"]


async def test_a_writer_that_is_always_slower_gives_up():
    bucket = Faulty()
    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))
    rounds = [_interfering(bucket, f"faster-{number}") for number in range(MAX_TRIES)]

    async def change_first(key: str) -> None:
        # The interfering write must not be interfered with in its turn.
        bucket.before, waiting = [], bucket.before
        await rounds.pop(0)(key)
        bucket.before = waiting

    bucket.before = [change_first] * MAX_TRIES

    with pytest.raises(ProblemError) as refused:
        await Versions(bucket).replace("acme", "reviewer", _renamed("slower"))

    assert (refused.value.problem.code, refused.value.problem.retryable) == ("conflict", True)
    assert len(await _all(bucket)) == 1 + MAX_TRIES


async def test_many_concurrent_changes_all_get_through_one_after_another():
    bucket = Faulty()
    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))

    async with anyio.create_task_group() as writers:
        for number in range(6):
            writers.start_soon(Versions(bucket).replace, "acme", "reviewer", _renamed(f"w{number}"))

    names = await _all(bucket)
    assert names[0] == "a"
    assert sorted(names[1:]) == [f"w{number}" for number in range(6)]


async def test_a_write_that_was_stored_without_an_answer_is_recognised():
    bucket = Faulty()
    bucket.after = [_lost]

    stored = await Versions(bucket).replace("acme", "reviewer", _renamed("a"))

    assert stored.value == agent(name="a")
    assert await _all(bucket) == ["a"]


async def test_a_write_that_was_lost_is_made_again():
    bucket = Faulty()
    bucket.before = [_lost]

    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))

    assert await _all(bucket) == ["a"]


async def test_a_write_without_an_answer_is_recognised_even_under_a_later_one():
    bucket = Faulty()
    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))

    async def lost_under_another(key: str) -> None:
        await _interfering(bucket, "later")(key)
        await _lost(key)

    bucket.after = [lost_under_another]

    stored = await Versions(bucket).replace("acme", "reviewer", _renamed("ours", later(1)))

    assert (stored.value.name, stored.value.version, stored.revision) == ("ours", 2, 0)
    assert await _all(bucket) == ["a", "ours", "later"]


async def test_a_write_that_arrives_late_is_not_made_twice():
    bucket = Faulty()
    first = await Versions(bucket).replace("acme", "reviewer", _renamed("a"))
    late: list[AgentDefinition] = []

    async def delayed(key: str) -> None:
        changed = definitions.update(first.value, wanted(name="ours"), NOW)
        assert isinstance(changed, AgentDefinition)
        late.append(changed)
        await _lost(key)

    async def arrives_before_the_next(key: str) -> None:
        await MemoryBucket.put(bucket, key, late[0], expected=first.revision)

    bucket.before = [delayed, arrives_before_the_next]

    await Versions(bucket).replace("acme", "reviewer", _renamed("ours"))

    assert await _all(bucket) == ["a", "ours"]


async def test_a_change_waits_for_a_bucket_that_is_away_but_not_for_ever():
    bucket = Faulty()
    bucket.before = [_lost] * 1000

    with pytest.raises(DeadlineError):
        await Versions(bucket, patience=0.2).replace("acme", "reviewer", _renamed("a"))


async def test_a_writer_that_died_between_archive_and_head_leaves_nothing_to_mend():
    bucket = Faulty()
    await Versions(bucket).replace("acme", "reviewer", _renamed("a"))

    class DeathError(Exception):
        pass

    async def die(_: str) -> None:
        raise DeathError

    bucket.before = [die]
    with pytest.raises(DeathError):
        await Versions(bucket).replace("acme", "reviewer", _renamed("never"))

    assert await _all(bucket) == ["a"]
    await Versions(bucket).replace("acme", "reviewer", _renamed("b"))
    assert await _all(bucket) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.b", "*", ">", "", "a b", "a\n"])
async def test_a_name_that_is_no_token_reaches_no_key(name: str):
    versions = Versions(Faulty())

    with pytest.raises(ProblemError) as tenant:
        await versions.head(name, "reviewer")
    with pytest.raises(ProblemError) as agent_id:
        await versions.replace("acme", name, _renamed("a"))

    assert tenant.value.problem.field == "tenant"
    assert agent_id.value.problem.field == "id"

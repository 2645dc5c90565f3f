"""What a tenant may store of definitions: beyond it, old versions go, and more is refused."""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.adapters.definitions import Definitions
from bus.codec import encode
from bus.config import QuotaTerms
from bus.errors import ProblemError
from bus.fairness import Quotas
from bus.kv import MemoryBucket
from bus.kv.stock import Stock, parts_of
from schemas.agents import AgentDefinition, ApplyAgent, DeleteAgent, GetAgent, Prompts
from schemas.providers import OpenAI
from tests.unit.agents.samples import opened

QUOTAS = Quotas(QuotaTerms(agents=3, versions=4, definition_bytes=20_000))

KEYS = st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(0, 4)).map(
    lambda parts: f"{parts[0]}.{parts[1]}" + (f".v{parts[2]}" if parts[2] else "")
)


@given(st.lists(st.tuples(KEYS, st.integers(0, 50)), max_size=60))
def test_the_stock_is_the_sum_of_what_its_keys_hold(notes: list[tuple[str, int]]) -> None:
    stock, held = Stock(), dict[str, int]()
    for key, size in notes:
        stock.note(key, size)
        held[key] = size
        for tenant in "ab":
            mine = [held[each] for each in held if parts_of(each)[0] == tenant]
            assert stock.bytes_of(tenant) == sum(mine)
            assert (tenant in stock.tenants) == any(mine)


@given(
    st.dictionaries(st.integers(1, 12), st.integers(1, 50)),
    st.integers(1, 50),
    st.integers(1, 6),
    st.integers(1, 300),
)
def test_the_oldest_versions_go_first_and_none_without_need(
    archived: dict[int, int], size: int, versions: int, most_bytes: int
) -> None:
    stock = Stock()
    stock.note("t.other", 20)
    stock.note("t.a", 30)
    for version, held in archived.items():
        stock.note(f"t.a.v{version}", held)
    drop, used = stock.plan("t", "a", size, versions=versions, most_bytes=most_bytes)
    assert drop == sorted(archived)[: len(drop)]
    assert used == 50 + size + sum(
        held for version, held in archived.items() if version not in drop
    )
    kept = len(archived) - len(drop) + 2
    assert len(drop) == len(archived) or (kept <= versions and used <= most_bytes)
    if drop:
        assert kept + 1 > versions or used + archived[drop[-1]] > most_bytes


# The store


@pytest.fixture
def bucket() -> MemoryBucket[AgentDefinition]:
    return MemoryBucket(AgentDefinition)


@pytest.fixture
async def store(bucket: MemoryBucket[AgentDefinition]) -> AsyncGenerator[Definitions]:
    async with opened(bucket, QUOTAS) as definitions:
        yield definitions


def _wanted(agent_id: str = "a", system: str = "") -> ApplyAgent:
    return ApplyAgent(id=agent_id, provider=OpenAI(model="m"), prompts=Prompts(system=system))


async def test_versions_beyond_the_newest_are_dropped_oldest_first(
    store: Definitions, bucket: MemoryBucket[AgentDefinition]
) -> None:
    for n in range(1, 11):
        await store.apply("greedy", _wanted(system=f"{n}"))
    await store.apply("modest", _wanted(system="1"))

    for version in range(7, 11):
        got = await store.get("greedy", GetAgent(id="a", version=version))
        assert got.prompts.system == f"{version}"
    with pytest.raises(ProblemError, match="no version 6; the newest 4 are kept"):
        await store.get("greedy", GetAgent(id="a", version=6))
    assert await bucket.get("greedy.a.v6") is None
    assert (await store.get("modest", GetAgent(id="a", version=1))).version == 1


async def test_more_agents_than_allowed_are_refused_with_the_figure_and_another_goes_on(
    store: Definitions,
) -> None:
    for name in "abc":
        await store.apply("greedy", _wanted(name))
    with pytest.raises(ProblemError) as refused:
        await store.apply("greedy", _wanted("d"))
    assert refused.value.problem.code == "rate_limited"
    assert refused.value.problem.field == "agents"
    assert refused.value.problem.details == {"quota": "agents", "used": 4, "allowed": 3}
    await store.apply("modest", _wanted("d"))
    await store.apply("greedy", _wanted("a", "changed"))
    await store.delete("greedy", DeleteAgent(id="a"))
    await store.apply("greedy", _wanted("d"))


async def test_bytes_are_bounded_and_older_versions_give_way_first(store: Definitions) -> None:
    for n in range(6):
        await store.apply("greedy", _wanted("a", f"{n}" * 7_000))
    uses = {use.quota: use for use in store.uses()}
    assert (uses["agents"].used, uses["agents"].allowed) == (1, 3)
    used = uses["definition_bytes"].used
    assert 7_000 < used <= 20_000
    size = len(encode(_wanted("b", "x" * 13_000)))
    with pytest.raises(ProblemError) as refused:
        await store.apply("greedy", _wanted("b", "x" * 13_000))
    assert refused.value.problem.field == "definition_bytes"
    assert refused.value.problem.details["used"] >= used + size
    assert refused.value.problem.details["allowed"] == 20_000
    await store.apply("modest", _wanted("b", "x" * 13_000))
    await store.delete("greedy", DeleteAgent(id="a"))

"""What is remembered for a tenant: bounded, of an age, and nobody else's business."""

from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.resilience.memory import ResilienceMemory

NAMES = st.integers(0, 9)
TENANT = st.sampled_from(["acme", "other", "third"])


def test_a_note_is_forgotten_when_its_time_is_over():
    memory: ResilienceMemory[int] = ResilienceMemory(lifetime=10.0)
    memory.note("acme", "a", 1, 0.0)

    assert memory.find("acme", "a", 9.9) == 1
    assert memory.find("other", "a", 9.9) is None
    assert memory.find("acme", "a", 10.0) is None
    assert list(memory.values(10.0)) == []


def test_the_tenants_that_were_not_heard_of_for_longest_are_forgotten():
    memory: ResilienceMemory[int] = ResilienceMemory(tenants=2)
    for tenant in ("one", "two"):
        memory.note(tenant, "a", 1, 0.0)
    assert memory.find("one", "a", 1.0) == 1
    memory.note("three", "a", 1, 1.0)

    assert memory.find("two", "a", 1.0) is None
    assert memory.find("one", "a", 1.0) == 1


@given(st.lists(st.tuples(TENANT, NAMES, st.integers()), max_size=60))
def test_what_others_note_makes_no_difference_to_a_tenant(notes: list[tuple[str, int, int]]):
    all_together: ResilienceMemory[int] = ResilienceMemory(each=3)
    alone: ResilienceMemory[int] = ResilienceMemory(each=3)
    for tenant, name, value in notes:
        all_together.note(tenant, name, value, 0.0)
        if tenant == "acme":
            alone.note(tenant, name, value, 0.0)

    for name in range(10):
        assert all_together.find("acme", name, 0.0) == alone.find("acme", name, 0.0)
    assert len(list(alone.values(0.0))) <= 3

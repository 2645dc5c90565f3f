"""What is over is known again, exactly, whether it is packed or not."""

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.pricing.core import closed
from actors.pricing.core import settled as packing
from actors.pricing.core.closed import (
    PACKED_FROM,
    SETTLED,
    VOIDED,
    Closed,
    ClosedMemory,
    forget,
    recall,
    remember,
)
from actors.pricing.core.settled import WIDTH, added, holds, joined, packed
from bus.codec import decode, encode

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
NAME = "0190c2a4-8b7e-7f00-a000-2b1c0d3e4f5a"

keys = st.builds(
    lambda name, step, attempt: f"{name}.{step}.{attempt}",
    st.uuids().map(str),
    st.integers(0, 9999),
    st.integers(0, 9999),
)
wholes = st.binary(min_size=WIDTH, max_size=WIDTH)


def key_at(number: int) -> str:
    """Return the key of an attempt of an execution that began so many milliseconds later."""
    return f"{uuid.UUID(int=(1_800_000_000_000 + number) << 80 | 7 << 76 | 2 << 62)}.1.1"


@given(keys, keys)
def test_two_keys_are_packed_differently(one: str, other: str):
    assert len(packed(one) or b"") == WIDTH
    assert (packed(one) == packed(other)) is (one == other)


@pytest.mark.parametrize(
    "key",
    [
        f"{NAME.upper()}.1.1",
        f"{NAME}.01.1",
        f"{NAME}.1.12345",
        f"{NAME}.1",
        f"{NAME}.1.1.1",
        f"{NAME}.1.\u0661",
        f"{NAME[:-1]}.1.1",
        f"{NAME[:-2]}  .1.1",
        f"{NAME.replace('-', '')}----.1.1",
        f" {NAME[1:]}.1.1",
        "e1.1.1",
        "entry/day",
        "",
    ],
)
def test_a_key_of_another_spelling_is_not_packed(key: str):
    assert packed(key) is None


@given(st.sets(wholes), st.sets(wholes), wholes)
def test_joined_sets_are_a_union_in_order(one: set[bytes], other: set[bytes], key: bytes):
    both = joined(added(b"", one), added(b"", other))

    assert both == b"".join(sorted(one | other)) == added(added(b"", one), other)
    assert holds(both, key) is (key in one | other)
    assert all(holds(both, each) for each in one | other)
    assert packing.size(both) == len(one | other)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=60))
def test_a_memory_answers_as_a_dictionary_does(special: list[tuple[int, bool]]):
    wanted: dict[str, Closed] = {}
    memory = ClosedMemory()
    lapsed = Closed(how="lapsed", booked_pico=3, accounts=("day",))
    said = [(key_at(n * 7 % 3000), SETTLED) for n in range(3000)]
    for n, is_void in special:
        said.insert(n * 7, (key_at(n * 7 % 3000), VOIDED if is_void else lapsed))
        said.insert(n * 5, (f"entry/{n}", Closed(how="entered", digest=str(n))))
    for key, how in said:
        # Nothing follows on what was settled; it takes the place of all else.
        if wanted.get(key) != SETTLED:
            memory = remember(memory, key, how, AT)
            wanted[key] = how

    assert {key: recall(memory, key) for key in wanted} == wanted
    assert recall(memory, key_at(3001)) is None
    assert decode(ClosedMemory, encode(memory)) == memory


def test_what_is_settled_takes_less_than_half_of_the_room_and_no_layer_has_many_entries():
    memory, plain = ClosedMemory(), dict[str, Closed]()
    for n in range(20_000):
        memory = remember(memory, key_at(n), SETTLED, AT)
        plain[key_at(n)] = SETTLED

    assert len(encode(memory)) < len(encode(plain)) / 2
    assert max(len(layer.entries) for layer in memory.layers) < PACKED_FROM
    assert sum(layer.size for layer in memory.layers) == len(plain)


def test_what_is_packed_is_forgotten_by_age_as_well(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(closed, "ROOM", 1000)
    monkeypatch.setattr(closed, "FULL", 4096)
    memory = ClosedMemory()
    for n in range(12_000):
        memory = remember(memory, key_at(n), SETTLED, AT + timedelta(seconds=n))
    kept = forget(memory, AT + timedelta(seconds=9_000, days=1), 1.0)

    assert kept.forgotten is not None
    assert AT < kept.forgotten < AT + timedelta(seconds=9_000)
    known = [n for n in range(12_000) if recall(kept, key_at(n))]
    assert known == list(range(12_000 - len(known), 12_000))
    assert AT + timedelta(seconds=known[0] - 1) == kept.forgotten


def test_a_memory_that_was_split_is_whole_again_and_most_of_its_parts_stay_the_same():
    memory = ClosedMemory()
    for number in range(40_000):
        memory = remember(memory, key_at(number), VOIDED if number % 50 == 0 else SETTLED, AT)
    rest, parts = closed.split(memory)
    for number in range(40_000, 41_000):
        memory = remember(memory, key_at(number), SETTLED, AT)

    _, later = closed.split(memory)
    new = [part for part in later if part not in parts]
    assert sum(map(len, new)) <= 2 * 1_000 * WIDTH + closed.PART_BYTES
    assert len(encode(rest)) < sum(map(len, parts)) / 2
    whole = closed.joined(decode(ClosedMemory, encode(rest)), parts)
    assert recall(whole, key_at(7)) == SETTLED
    assert closed.split(whole) == (rest, parts)

"""Fresh ids are UUIDs of version 7: unique, in the order of their time, and subject tokens."""

import uuid
from itertools import pairwise

import pytest

from bus.ids import new_id
from bus.subjects import token


def test_an_id_is_a_uuid_of_version_7_and_a_token():
    name = new_id()

    assert str(uuid.UUID(name)) == name
    assert (uuid.UUID(name).version, uuid.UUID(name).variant) == (7, uuid.RFC_4122)
    assert token(name, "id") == name


def test_ids_differ_though_made_at_once():
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_ids_sort_by_the_millisecond_they_were_made_in(monkeypatch: pytest.MonkeyPatch):
    names: list[str] = []
    for milliseconds in (1, 2, 1_000, 1_700_000_000_000, 1_700_000_000_001):
        monkeypatch.setattr("bus.ids.time.time_ns", lambda now=milliseconds: now * 1_000_000)
        names.append(new_id())

    assert all(one < other for one, other in pairwise(names))
    assert [uuid.UUID(name).int >> 80 for name in names[2:4]] == [1_000, 1_700_000_000_000]

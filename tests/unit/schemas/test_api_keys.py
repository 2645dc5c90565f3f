"""How an API key is written, read and judged."""

import os
import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.api_keys import (
    ALPHABET,
    ID_BYTES,
    SECRET_BYTES,
    PresentedKey,
    fits,
    hash_of,
    key_id,
    made,
    parsed,
    written,
)
from schemas.ids import TOKEN_PATTERN

NOW = datetime(2026, 12, 1, tzinfo=UTC)

CHANCE = st.binary(min_size=SECRET_BYTES, max_size=SECRET_BYTES)


def a_key() -> PresentedKey:
    return made("live", key_id(os.urandom(ID_BYTES)), os.urandom(SECRET_BYTES))


@given(name=st.binary(min_size=ID_BYTES, max_size=ID_BYTES), chance=CHANCE)
def test_what_is_written_is_read_and_its_id_stands_in_subjects(name: bytes, chance: bytes):
    key = made("test", key_id(name), chance)
    assert parsed(written(key)) == key
    assert re.match(TOKEN_PATTERN, key.id)


@given(chance=CHANCE, place=st.integers(0, 69), letter=st.sampled_from(ALPHABET))
def test_a_misspelt_key_is_none(chance: bytes, place: int, letter: str):
    text = written(made("live", "a" * 12, chance))
    spoilt = text[:place] + letter + text[place + 1 :]
    assert (parsed(spoilt) is not None) == (spoilt == text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cb_live_",
        "cb_live_' OR 1=1 --",
        "cb_live_" + "\0" * 62,
        "\uff43" * 70,
        "x" * 1_000_000,
        "cb_dead_" + "a" * 62,
        "cb_live_" + "_" * 62,
    ],
    ids=range(8),
)
def test_anything_else_is_no_key(text: str):
    assert parsed(text) is None


def test_a_secret_is_taken_until_its_time_and_no_other_is():
    key, other = a_key(), a_key()
    kept = [hash_of(key), hash_of(other, until=NOW)]
    assert fits(key, kept, NOW)
    assert fits(other, kept, NOW - timedelta(microseconds=1))
    assert not fits(other, kept, NOW)
    assert not fits(a_key(), kept, NOW)
    assert not fits(key, [], NOW)


def test_what_is_kept_and_shown_of_a_key_does_not_tell_its_secret():
    key = a_key()
    assert key.secret not in repr(key)
    assert key.secret not in repr(hash_of(key))
    assert hash_of(key).last == key.secret[-4:]

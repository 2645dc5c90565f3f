"""What never gets into a log line, whoever writes it."""

import string
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.telemetry import redaction
from bus.telemetry.redaction import LONGEST, redact, scrub


class Definition(msgspec.Struct):
    system_prompt: str


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "apiKey",
        "OPENAI_API_KEY",
        "x-api-key",
        "secret",
        "client_secret",
        "stream_auth_secret",
        "token",
        "access_token",
        "password",
        "authorization",
        "Authorization",
        "cookie",
        "creds",
        "private_key",
    ],
)
def test_a_field_named_like_a_secret_is_dropped(name: str):
    assert redact({"event": "done", name: "made-up-value"}) == {"event": "done"}
    assert redact({name: 123456}) == {}


@pytest.mark.parametrize(
    "name",
    ["prompt", "system_prompt", "task", "content", "messages", "output", "arguments", "toolCalls"],
)
def test_a_field_named_like_a_text_is_dropped(name: str):
    assert redact({"event": "done", name: "the patient said"}) == {"event": "done"}


def test_counts_and_flags_stay_whatever_their_name():
    fields = {
        "tokens": 12,
        "tokens_used": 12,
        "max_tokens": 512,
        "input": 7,
        "output": 5,
        "secret": True,
        "prompt": None,
        "key": "acme/e1",
    }
    assert redact(fields) == fields


def test_mappings_and_lists_inside_are_redacted_too():
    fields = {"call": {"headers": {"a": "b"}, "status": 401, "tries": [{"token": "x", "n": 1}]}}
    assert redact(fields) == {"call": {"status": 401, "tries": [{"n": 1}]}}


def test_an_object_is_reduced_to_the_name_of_its_type():
    fields = {"agent": Definition(system_prompt="You are"), "raw": b"You are"}
    assert redact(fields) == {"agent": "<Definition>", "raw": "<bytes>"}


def test_a_moment_is_written_in_iso_format():
    assert redact({"due": datetime(2026, 1, 2, tzinfo=UTC)}) == {"due": "2026-01-02T00:00:00+00:00"}


def test_nesting_and_length_are_bounded():
    deep: dict[str, object] = {"end": 1}
    for _ in range(10):
        deep = {"in": deep}
    line = redact({"deep": deep, "many": list(range(1000)), "wide": {str(n): n for n in range(99)}})
    assert line["deep"] == {"in": {"in": {"in": "<dict>"}}}
    assert line["many"] == list(range(20))
    assert len(line["wide"]) == 20
    assert len(scrub("a" * 5000)) == LONGEST + 1


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("401 for sk-proj-abcDEF0123456789", "401 for ***"),
        ("key gsk_abcdefgh12345678 refused", "key *** refused"),
        ("Authorization: Bearer abc.def-123456", "Authorization: Bearer ***"),
        ("nats://fleet:p@ss@10.0.0.1:4222 is gone", "nats://***@10.0.0.1:4222 is gone"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "***"),
        (f"seed SUA{'B' * 55}", "seed ***"),
        ("skills and task-oriented agents", "skills and task-oriented agents"),
        ("execution 0190c2a4-8b7e-7f00-a000-2b1c0d3e4f5a", None),
    ],
)
def test_what_looks_like_a_key_is_masked_inside_any_text(said: str, written: str | None):
    assert scrub(said) == (said if written is None else written)


@given(
    before=st.integers(0, 2 * LONGEST),
    key=st.text(string.ascii_letters + string.digits, min_size=8, max_size=100),
)
def test_no_part_of_a_key_shows_wherever_it_stands(before: int, key: str):
    assert f"sk-{key[:4]}" not in scrub(f"{' ' * before}sk-{key} ")


_ALL_KEYS = redaction._KEYS


@given(st.from_regex(_ALL_KEYS) | st.text() | st.sampled_from(("Basic ", "pk_", "ghp-", "SX")))
def test_to_look_for_marks_first_overlooks_no_key(text: str):
    masked = _ALL_KEYS.sub(redaction._mask, text[: 2 * LONGEST])
    assert len(text) < redaction.SHORTEST_KEY or scrub(text)[:LONGEST] == masked[:LONGEST]


@given(st.dictionaries(st.text(max_size=8), st.text() | st.integers() | st.lists(st.text())))
def test_every_line_can_be_encoded(fields: dict[str, object]):
    assert msgspec.json.decode(msgspec.json.encode(redact(fields))) == redact(fields)

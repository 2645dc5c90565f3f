from base64 import b64encode, urlsafe_b64decode
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.google.service_account import (
    AccessToken,
    ServiceAccount,
    grant_request,
    granted,
    read_account,
    signing_input,
    unpacked,
)

NOW = datetime(2026, 11, 21, 8, tzinfo=UTC)
ACCOUNT = ServiceAccount(
    client_email="robot@project.iam.gserviceaccount.com",
    private_key="-----BEGIN PRIVATE KEY-----",
    private_key_id="k1",
)
KEY_FILE = msgspec.json.encode(
    {"type": "service_account", "project_id": "p", **msgspec.structs.asdict(ACCOUNT)}
)


def part(encoded: bytes) -> object:
    return msgspec.json.decode(urlsafe_b64decode(encoded + b"=="))


def test_a_key_file_is_read_as_far_as_it_is_needed():
    assert read_account(KEY_FILE) == ACCOUNT


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b"[1]", b"ya29.token"])
def test_what_is_no_key_file_is_none(content: bytes):
    assert read_account(content) is None


def test_a_secret_may_be_the_base64_of_a_key_file():
    assert unpacked(b64encode(b"\n" + KEY_FILE).decode()) == b"\n" + KEY_FILE


@pytest.mark.parametrize("secret", ["ya29.a0AfH6", "/etc/key.json", "eyJh.eyJi.c2ln", "QUJD", ""])
def test_other_secrets_are_no_base64_of_one(secret: str):
    assert unpacked(secret) is None


def test_what_is_signed_says_who_asks_for_what_and_until_when():
    header, claims = signing_input(ACCOUNT, NOW).split(b".")

    assert part(header) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
    assert part(claims) == {
        "iss": "robot@project.iam.gserviceaccount.com",
        "scope": "https://www.googleapis.com/auth/cloud-platform",
        "aud": "https://oauth2.googleapis.com/token",
        "iat": 1795248000,
        "exp": 1795251600,
    }


def test_the_grant_is_asked_for_with_the_signed_assertion():
    form = parse_qs(grant_request(b"head.claims", b"\xfb\xff").decode())

    assert form == {
        "grant_type": ["urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "assertion": ["head.claims.-_8"],
    }


def test_a_token_is_used_until_five_minutes_before_its_end():
    answer = b'{"access_token":"ya29.x","expires_in":3599,"token_type":"Bearer"}'

    assert granted(answer, NOW) == AccessToken("ya29.x", NOW + timedelta(seconds=3299))


@pytest.mark.parametrize(
    "answer", [b"", b"{}", b'{"access_token":""}', b'{"access_token":"a b"}', b'{"access_token":1}']
)
def test_what_is_no_token_is_none(answer: bytes):
    assert granted(answer, NOW) is None


@given(st.binary(max_size=60))
def test_hostile_answers_are_no_token(answer: bytes):
    assert granted(answer, NOW) is None
    assert read_account(answer) is None


def test_keys_and_tokens_do_not_show_in_what_is_printed():
    printed = f"{ACCOUNT!r} {AccessToken('ya29.secret', NOW)!r}"

    assert printed == "ServiceAccount(...) AccessToken(...)"

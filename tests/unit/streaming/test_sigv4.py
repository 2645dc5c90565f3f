"""Signatures: against the example AWS publishes, and against botocore's own signer."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from unittest.mock import patch
from urllib.parse import quote

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as AwsKeys
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.aws.sigv4 import (
    Credentials,
    CredentialScope,
    Signable,
    canonical_request,
    sign,
)

NOW = datetime(2026, 11, 21, 7, 30, 5, tzinfo=UTC)
KEYS = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
SCOPE = CredentialScope("us-east-1", "bedrock")
HOST = "https://bedrock-runtime.us-east-1.amazonaws.com"
PROFILE = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-v1:0"

SEGMENTS = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), max_size=12)
PATHS = st.lists(
    st.one_of(SEGMENTS.map(lambda text: quote(text, safe="-._~")), st.sampled_from(["", ".", ".."]))
).map(lambda parts: "/" + "/".join(parts))
WORDS = st.text("abcXYZ019-._~%3A", max_size=6)
QUERIES = st.lists(st.tuples(WORDS.filter(bool), WORDS), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "accept", "X-Amz-Target", "x-custom"]),
    st.text("ab cd\t=;,/", max_size=12),
)


def oracle(
    request: Signable, keys: Credentials, scope: CredentialScope, now: datetime
) -> dict[str, str]:
    signed = AWSRequest(
        method=request.method, url=request.url, headers=dict(request.headers), data=request.body
    )
    signer = SigV4Auth(AwsKeys(*keys), scope.service, scope.region)
    with patch("botocore.auth.get_current_datetime", lambda: now):
        signer.add_auth(signed)
    return {
        name.lower(): value
        for name, value in signed.headers.items()
        if name.lower() in {"authorization", "x-amz-date", "x-amz-security-token"}
    }


def test_the_published_example_is_signed_as_published():
    request = Signable(
        "GET",
        "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08",
        {"content-type": "application/x-www-form-urlencoded; charset=utf-8"},
        b"",
    )
    moment = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)

    headers = sign(request, KEYS, CredentialScope("us-east-1", "iam"), moment)

    assert headers == {
        "x-amz-date": "20150830T123600Z",
        "authorization": (
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, "
            "SignedHeaders=content-type;host;x-amz-date, "
            "Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        ),
    }


@pytest.mark.parametrize("model", ["amazon.nova-micro-v1:0", PROFILE, "a b/c~d_e*", "é"])
@pytest.mark.parametrize("token", [None, "session//token=="])
def test_models_and_profiles_are_signed_as_botocore_signs_them(model: str, token: str | None):
    url = f"{HOST}/model/{quote(model, safe='-._~')}/converse-stream"
    keys = KEYS._replace(session_token=token)
    request = Signable("POST", url, {"content-type": "application/json"}, b"{}")

    assert sign(request, keys, SCOPE, NOW) == oracle(request, keys, SCOPE, NOW)


@given(PATHS, QUERIES, HEADERS, st.binary(max_size=20), st.sampled_from(["", ":443", ":8443"]))
def test_any_request_is_signed_as_botocore_signs_it(
    path: str, query: str, headers: dict[str, str], body: bytes, port: str
):
    request = Signable("POST", f"{HOST}{port}{path}?{query}", headers, body)

    assert sign(request, KEYS, SCOPE, NOW) == oracle(request, KEYS, SCOPE, NOW)


def test_a_path_is_encoded_once_on_the_wire_and_twice_in_what_is_signed():
    request = Signable("POST", f"{HOST}/model/{quote(PROFILE, safe='')}/converse-stream", {}, b"")

    path = canonical_request(request, {}).splitlines()[1]

    assert path == (
        "/model/arn%253Aaws%253Abedrock%253Aus-east-1%253A123456789012%253Ainference-profile"
        "%252Fus.anthropic.claude-v1%253A0/converse-stream"
    )


def test_the_moment_is_the_same_in_every_zone():
    request = Signable("POST", HOST, {}, b"")
    elsewhere = NOW.astimezone(timezone(timedelta(hours=-8)))

    assert sign(request, KEYS, SCOPE, elsewhere) == sign(request, KEYS, SCOPE, NOW)


def test_credentials_do_not_show_in_what_is_printed():
    printed: list[Any] = [repr(KEYS), str(KEYS), f"{KEYS!r}"]

    assert not any(KEYS.secret_access_key in text for text in printed)

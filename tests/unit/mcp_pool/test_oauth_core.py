"""OAuth of MCP servers, the pure part."""

import string
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mcp_pool.core.oauth import (
    BearerChallenge,
    Discovered,
    IssuerMetadata,
    OauthError,
    ResourceMetadata,
    auth_method,
    bearer_challenge,
    checked_issuer,
    checked_resource,
    chosen_issuer,
    endpoint,
    issuer_urls,
    resource_urls,
    scopes_of,
    scopes_wanted,
)
from actors.mcp_pool.core.oauth_grants import (
    LoginRequest,
    OauthClient,
    OauthGrant,
    TokenAnswer,
    TokenRefusedError,
    authorization_url,
    by_refresh,
    callback_code,
    challenge_of,
    granted,
    token_request,
)

ISSUER = IssuerMetadata(
    issuer="https://as.example",
    authorization_endpoint="https://as.example/authorize?tenant=1",
    token_endpoint="https://as.example/token",
    code_challenge_methods_supported=["S256"],
)
FOUND = Discovered("https://mcp.example/mcp", ("a", "b"), ISSUER)
CLIENT = OauthClient(id="app:1", secret="p&ss/=", method="client_secret_basic")
GRANT = OauthGrant(
    resource="https://mcp.example/mcp",
    issuer="https://as.example",
    token_endpoint="https://as.example/token",
    client=CLIENT,
    access_token="access-1",
    refresh_token="refresh-1",
    scopes=["a"],
)
VALUES = st.text(string.ascii_letters + string.digits + ' ,=/:"\\._-', max_size=30)


# Challenges


@given(st.dictionaries(st.sampled_from(["realm", "error", "x"]), VALUES), VALUES, st.booleans())
def test_a_quoted_challenge_is_read_as_it_was_written(
    more: dict[str, str], metadata: str, first: bool
):
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    fields = {**more, "resource_metadata": metadata}
    told = ", ".join(f"{name}={quoted(value)}" for name, value in fields.items())
    header = f'Bearer {told}, DPoP algs="ES256"' if first else f'Basic realm="r", bearer {told}'

    assert bearer_challenge(header).metadata == metadata
    assert bearer_challenge(header).error == more.get("error", "")


@given(st.text(max_size=300))
def test_whatever_a_server_says_is_a_challenge(header: str):
    found = bearer_challenge(f"Bearer {header}")
    assert all(" " not in scope for scope in found.scopes)


def test_scopes_stand_once_and_in_order():
    challenge = bearer_challenge('Bearer error="insufficient_scope", scope="b a b \x7f"')
    assert challenge == BearerChallenge(("b", "a"), "", "insufficient_scope")
    assert challenge.wants_more
    assert bearer_challenge("Basic realm=x") == BearerChallenge()


# Metadata


@pytest.mark.parametrize(
    ("server", "named", "places"),
    [
        ("https://a.example/v1/mcp", "https://b.example/m", ["https://b.example/m"]),
        (
            "https://a.example:8443/v1/mcp/",
            "",
            [
                "https://a.example:8443/.well-known/oauth-protected-resource/v1/mcp",
                "https://a.example:8443/.well-known/oauth-protected-resource",
            ],
        ),
        ("https://a.example", "", ["https://a.example/.well-known/oauth-protected-resource"]),
    ],
)
def test_where_a_server_describes_itself(server: str, named: str, places: list[str]):
    assert resource_urls(server, named) == places


def test_where_an_issuer_describes_itself():
    assert issuer_urls("https://as.example/t1") == [
        "https://as.example/.well-known/oauth-authorization-server/t1",
        "https://as.example/.well-known/openid-configuration/t1",
        "https://as.example/t1/.well-known/openid-configuration",
    ]
    assert issuer_urls("https://as.example") == [
        "https://as.example/.well-known/oauth-authorization-server",
        "https://as.example/.well-known/openid-configuration",
    ]


@pytest.mark.parametrize(
    ("resource", "is_ours"),
    [
        ("https://mcp.example/v1/mcp", True),
        ("https://mcp.example:443/v1", True),
        ("https://MCP.example/", True),
        ("https://mcp.example/v1/mcp2", False),
        ("https://mcp.example/v1/mc", False),
        ("http://mcp.example/v1/mcp", False),
        ("https://mcp.example:444/v1/mcp", False),
        ("https://evil.example/v1/mcp", False),
        ("https://mcp.example@evil.example/v1/mcp", False),
        ("", False),
    ],
)
def test_metadata_of_another_resource_is_refused(resource: str, *, is_ours: bool):
    said = ResourceMetadata(resource=resource)
    if is_ours:
        assert checked_resource(said, "https://mcp.example/v1/mcp") is said
        return
    with pytest.raises(OauthError):
        checked_resource(said, "https://mcp.example/v1/mcp")


def test_an_issuer_is_the_one_that_was_asked_and_demanded():
    named = ResourceMetadata(authorization_servers=["https://as.example", "https://two.example"])
    assert chosen_issuer(named, None) == "https://as.example"
    assert chosen_issuer(named, "https://two.example") == "https://two.example"
    for said, wanted in ((named, "https://three.example"), (ResourceMetadata(), None)):
        with pytest.raises(OauthError):
            chosen_issuer(said, wanted)
    assert checked_issuer(ISSUER, "https://as.example") is ISSUER
    with pytest.raises(OauthError, match="another issuer"):
        checked_issuer(ISSUER, "https://as.example/")


@pytest.mark.parametrize(
    "url",
    ["http://as.example/token", "ftp://a/b", "https://u:p@a/b", "/token", "https://[::1/", ""],
)
def test_no_secret_goes_to_a_place_that_is_not_safe(url: str):
    with pytest.raises(OauthError):
        endpoint(url)


@pytest.mark.parametrize(
    "url", ["https://as.example/t", "http://127.0.0.1:1/t", "http://localhost/t", "http://[::1]/t"]
)
def test_a_secret_may_go_over_tls_or_to_this_machine(url: str):
    assert endpoint(url) == url


# Scopes and clients


def test_scopes_are_those_of_the_terms_the_challenge_or_the_server():
    nothing, some = BearerChallenge(), BearerChallenge(("c",))
    assert scopes_wanted("x y", some, FOUND, refreshes=False) == ("x", "y")
    assert scopes_wanted("", some, FOUND, refreshes=False) == ("c",)
    assert scopes_wanted("", nothing, FOUND, refreshes=False) == ("a", "b")
    more = BearerChallenge(("w",), error="insufficient_scope")
    assert scopes_wanted("", more, FOUND, ["a"], refreshes=False) == ("a", "w")
    offline = IssuerMetadata(issuer="i", scopes_supported=["offline_access"])
    found = FOUND._replace(issuer=offline)
    assert scopes_wanted("", some, found, refreshes=True) == ("c", "offline_access")
    assert scopes_wanted("", some, found, refreshes=False) == ("c",)
    assert scopes_wanted("", some, FOUND, refreshes=True) == ("c",)


def test_a_client_signs_in_as_both_sides_can():
    assert auth_method(None, secret=True) == "client_secret_basic"
    assert auth_method(["none", "client_secret_post"], secret=True) == "client_secret_post"
    assert auth_method(["client_secret_post", "none"], secret=False) == "none"
    assert auth_method(["none"], secret=True, registered="client_secret_basic") == (
        "client_secret_basic"
    )
    with pytest.raises(OauthError):
        auth_method(["private_key_jwt"], secret=True)


# Logging in


LOGIN = LoginRequest(CLIENT, "http://127.0.0.1:9/callback", "v" * 43, "state-1", ("a", "b"))


def test_a_login_begins_with_pkce_resource_and_state():
    url = authorization_url(FOUND, LOGIN)
    asked = parse_qs(urlsplit(url).query)
    assert url.startswith("https://as.example/authorize?tenant=1&")
    assert asked["code_challenge"] == [challenge_of("v" * 43)]
    assert asked["code_challenge_method"] == ["S256"]
    assert (asked["resource"], asked["state"]) == ([FOUND.resource], ["state-1"])
    assert asked["scope"] == ["a b"]
    assert "v" * 43 not in url


def test_the_challenge_is_that_of_the_standard():
    # RFC 7636, appendix B.
    verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert challenge_of(verifier) == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


@pytest.mark.parametrize(
    "issuer",
    [
        msgspec.structs.replace(ISSUER, code_challenge_methods_supported=["plain"]),
        msgspec.structs.replace(ISSUER, authorization_endpoint="http://as.example/authorize"),
    ],
)
def test_a_login_without_pkce_or_over_plain_http_is_none(issuer: IssuerMetadata):
    with pytest.raises(OauthError):
        authorization_url(FOUND._replace(issuer=issuer), LOGIN)


PROMISING = IssuerMetadata(
    issuer="https://as.example", authorization_response_iss_parameter_supported=True
)


@pytest.mark.parametrize(
    ("query", "issuer", "code"),
    [
        ({"code": "c", "state": "s", "iss": "https://as.example"}, PROMISING, "c"),
        ({"code": "c", "state": "s"}, ISSUER, "c"),
        ({"code": "c", "state": "s"}, PROMISING, None),
        ({"code": "c", "state": "s", "iss": "https://as.example/"}, ISSUER, None),
        ({"code": "c", "state": "s", "iss": "https://evil.example"}, ISSUER, None),
        ({"code": "c", "state": "other"}, ISSUER, None),
        ({"code": "c"}, ISSUER, None),
        ({"error": "access_denied", "state": "s"}, ISSUER, None),
    ],
)
def test_a_code_is_taken_from_the_attempt_and_the_issuer_alone(
    query: dict[str, str], issuer: IssuerMetadata, code: str | None
):
    if code is not None:
        assert callback_code(urlencode(query), "s", issuer) == code
        return
    with pytest.raises(OauthError):
        callback_code(urlencode(query), "s", issuer)


def test_a_parameter_that_stands_twice_is_no_answer():
    with pytest.raises(OauthError):
        callback_code("state=s&code=a&code=b", "s", ISSUER)


def test_what_a_server_says_of_an_error_is_not_repeated():
    with pytest.raises(OauthError) as refused:
        callback_code(urlencode({"state": "s", "error": "<b>secret words</b>"}), "s", ISSUER)
    assert "secret" not in str(refused.value)


# Tokens


def test_a_client_shows_who_it_is_in_the_way_that_was_chosen():
    basic = token_request(by_refresh(GRANT), GRANT.resource, CLIENT)
    assert basic.headers["authorization"] == "Basic YXBwJTNBMTpwJTI2c3MlMkYlM0Q="
    fields = dict(parse_qsl(basic.body.decode()))
    assert fields == {
        "grant_type": "refresh_token",
        "refresh_token": "refresh-1",
        "resource": GRANT.resource,
    }
    post = token_request({}, "r", OauthClient(id="i", secret="s", method="client_secret_post"))
    assert post.body == b"resource=r&client_id=i&client_secret=s"
    nobody = token_request({}, "r", OauthClient(id="i", secret="s"))
    assert nobody.body == b"resource=r&client_id=i"


LIVES = st.none() | st.floats(-10, 1e6)


@given(LIVES, st.floats(0, 2e9), st.sampled_from(["", "refresh-2"]))
def test_a_token_lives_as_long_as_was_said(life: float | None, now: float, refresh: str):
    answer = TokenAnswer(
        access_token="access-2", token_type="BEARER", expires_in=life, refresh_token=refresh
    )
    grant = granted(answer, GRANT, now)
    assert grant.refresh_token == (refresh or "refresh-1")
    assert grant.scopes == ["a"]
    if life is None:
        assert not grant.is_stale(now + 1e9)
    else:
        assert grant.is_stale(now + max(life, 0))
        assert grant.is_stale(now) == (max(0, life) <= 30 or now + life - 30 <= now)


@pytest.mark.parametrize(
    "answer",
    [
        TokenAnswer(access_token="x", token_type="DPoP"),
        TokenAnswer(access_token="a b", token_type="Bearer"),
        TokenAnswer(access_token="a\r\nx: y", token_type="Bearer"),
        TokenAnswer(token_type="Bearer"),
    ],
)
def test_a_token_that_cannot_be_sent_is_none(answer: TokenAnswer):
    with pytest.raises(OauthError):
        granted(answer, GRANT, 0)


def test_a_refusal_says_whether_the_grant_has_ended():
    for error, ends in (("invalid_grant", True), ("temporarily_unavailable", False)):
        with pytest.raises(TokenRefusedError) as refused:
            granted(TokenAnswer(error=error), GRANT, 0)
        assert refused.value.ends_grant is ends


@pytest.mark.parametrize("holder", [GRANT, CLIENT, TokenAnswer(access_token="access-1")])
def test_what_holds_secrets_shows_none(holder: object):
    assert not {"access-1", "refresh-1", "p&ss/="} & set(repr(holder).split("'"))
    assert "access-1" not in repr(holder)


@given(st.text(max_size=200))
def test_scopes_are_texts_that_a_form_can_carry(text: str):
    found = scopes_of(text)
    assert len(set(found)) == len(found)
    assert all(each.isascii() and each.isprintable() and '"' not in each for each in found)

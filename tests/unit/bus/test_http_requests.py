"""URLs, heads of requests and proxies: what is written can be read in one way only."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.errors import ConfigError, ProblemError
from bus.http.heads import Extra, HttpHeaders, request_head
from bus.http.proxies import HttpProxies, HttpProxy
from bus.http.urls import HttpOrigin, http_target

TARGET = http_target("http://h.example:8001/a?b=c")
PLAIN = Extra()


def head(method: str = "GET", headers: Any = (), size: int = 0, extra: Extra = PLAIN) -> bytes:
    return request_head(method, TARGET, headers, size, extra)


# URLs


@pytest.mark.parametrize(
    ("url", "origin", "host", "path"),
    [
        ("http://h.example", ("http", "h.example", 80), "h.example", "/"),
        ("HTTPS://H.Example:443/A", ("https", "h.example", 443), "h.example", "/A"),
        ("https://h.example:80/?a=/b?c", ("https", "h.example", 80), "h.example:80", "/?a=/b?c"),
        ("http://[::1]:9/x#part", ("http", "::1", 9), "[::1]:9", "/x"),
        ("http://[2001:DB8::1]/", ("http", "2001:db8::1", 80), "[2001:db8::1]", "/"),
        ("http://127.0.0.1?q", ("http", "127.0.0.1", 80), "127.0.0.1", "/?q"),
        ("http://xn--a.example/", ("http", "xn--a.example", 80), "xn--a.example", "/"),
    ],
)
def test_a_url_says_where_to_connect_and_what_to_ask(
    url: str, origin: tuple[str, str, int], host: str, path: str
):
    assert http_target(url) == (HttpOrigin(*origin), host, path)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/path",
        "h.example/path",
        "ftp://h.example/",
        "file:///etc/passwd",
        "http://",
        "http:///path",
        "http://user@h.example/",
        "http://user:password@h.example/",
        "http://h.example\\@other.example/",
        "http://h.example:99999/",
        "http://h.example:port/",
        "http://h ex/",
        "http://h.example/a b",
        "http://h.example/\r\nx: 1",
        "http://h.example/\n",
        "http://bücher.example/",
        "http://h.example/ü",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://h%2eexample/",
        "http://h.example/" + "a" * 20_000,
    ],
)
def test_what_is_no_plain_url_is_refused(url: str):
    with pytest.raises(ProblemError) as caught:
        http_target(url, "server.url")

    assert caught.value.problem.code == "validation"
    assert caught.value.problem.field == "server.url"


# Heads


def test_a_head_has_the_callers_headers_and_the_clients_own():
    fields = [("Accept", "a"), ("accept", "b"), ("HOST", "other"), ("Content-Length", "9")]
    fields += [("Transfer-Encoding", "chunked"), ("Connection", "close"), ("Upgrade", "x")]

    assert head("POST", fields, 3).split(b"\r\n") == [
        b"POST /a?b=c HTTP/1.1",
        b"host: h.example:8001",
        b"accept: a",
        b"accept: b",
        b"content-length: 3",
        b"",
        b"",
    ]


@pytest.mark.parametrize(("method", "said"), [("GET", False), ("DELETE", False), ("POST", True)])
def test_an_empty_body_has_a_length_where_one_is_expected(method: str, said: bool):
    assert (b"content-length: 0" in head(method)) is said


def test_a_callers_encoding_goes_before_the_clients():
    extra = Extra(accept_encoding="gzip")

    assert b"accept-encoding: gzip\r\n" in head(extra=extra)
    assert b"gzip" not in head(headers={"Accept-Encoding": "identity"}, extra=extra)


def test_a_proxy_is_told_the_whole_url_and_who_asks():
    written = head(extra=Extra(absolute=True, proxy_credentials="Basic eA=="))

    assert written.startswith(b"GET http://h.example:8001/a?b=c HTTP/1.1\r\nhost: h.example:8001\r")
    assert b"proxy-authorization: Basic eA==\r\n" in written


@given(
    st.text() | st.sampled_from(["x", "x:", "x "]),
    st.text(st.characters(min_codepoint=0, max_codepoint=0x2FF)),
)
def test_no_header_becomes_two(name: str, text: str):
    try:
        written = head(headers=[(name, text)])
    except ProblemError:
        return
    assert written.count(b"\r\n") == written.count(b"\n") <= 4
    assert written.endswith(b"\r\n\r\n")
    assert written.count(b"\r\n\r\n") == 1


@pytest.mark.parametrize("value", ["a\r\nx: 1", "a\n", "\r", "a\0", "\r\n\r\nGET / HTTP/1.1", "漢"])
def test_a_value_that_would_not_stay_one_is_refused(value: str):
    with pytest.raises(ProblemError):
        head(headers={"x": value})


@pytest.mark.parametrize("method", ["", "GET /", "G\r\nT", "GÉT"])
def test_a_method_is_a_token(method: str):
    with pytest.raises(ProblemError):
        head(method)


def test_headers_are_found_in_any_case_and_joined():
    headers = HttpHeaders([(b"Set-Cookie", b"a=1"), (b"X", b"\xe9"), (b"set-cookie", b"b=2")])

    assert headers.get("SET-cookie") == "a=1, b=2"
    assert headers.all("set-cookie") == ["a=1", "b=2"]
    assert headers.get("x") == "é"
    assert headers.get("absent", "none") == "none"
    assert "x" in headers
    assert "y" not in headers
    assert len(headers) == 3


# Proxies

FAR, SAFE = HttpOrigin("http", "a.example.com", 80), HttpOrigin("https", "a.example.com", 443)


def test_each_scheme_has_its_proxy_and_all_is_the_rest():
    proxies = HttpProxies.of({"HTTPS_PROXY": "http://p:3128", "all_proxy": "http://u:p%40@q:1/"})

    assert proxies.before(SAFE) == HttpProxy("p", 3128, "")
    assert proxies.before(FAR) == HttpProxy("q", 1, "Basic dTpwQA==")
    assert HttpProxies.of({}).before(FAR) is None


def test_a_name_in_lower_case_goes_before_the_other():
    proxies = HttpProxies.of({"http_proxy": "low:80", "HTTP_PROXY": "http://high:80"})

    assert proxies.before(FAR) == HttpProxy("low", 80, "")


@pytest.mark.parametrize("url", ["socks5://p:1080", "https://p", "http://", "http://p:port"])
def test_a_proxy_that_cannot_be_used_is_no_reason_to_go_without(url: str):
    with pytest.raises(ConfigError, match="HTTPS_PROXY"):
        HttpProxies.of({"https_proxy": url})


@pytest.mark.parametrize(
    ("listed", "host", "direct"),
    [
        ("*", "a.example.com", True),
        ("example.com", "a.example.com", True),
        (".example.com", "a.example.com", True),
        ("*.example.com", "a.example.com", True),
        ("Example.COM.", "a.example.com", True),
        ("ample.com", "a.example.com", False),
        ("example.com:80", "a.example.com", True),
        ("example.com:81", "a.example.com", False),
        ("x, example.com ,", "a.example.com", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.4", "10.1.2.3", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("[2001:db8::1]:80", "2001:db8::1", True),
        ("[2001:db8::1]:81", "2001:db8::1", False),
        ("", "127.0.0.1", True),
        ("", "127.9.9.9", True),
        ("", "::1", True),
        ("", "localhost", True),
        ("", "localhost.example.com", False),
    ],
)
def test_what_is_called_directly(listed: str, host: str, direct: bool):
    proxies = HttpProxies.of({"http_proxy": "http://p", "NO_PROXY": listed})

    assert (proxies.before(HttpOrigin("http", host, 80)) is None) is direct

"""A base_url that leads to a web page is told as what it is."""

import pytest

from actors.streaming.core.errors.misdirected import misdirected

HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("status", "kind", "said"),
    [
        (200, HTML, "The server answered text/html (200): is base_url right?"),
        (404, "Text/HTML", "The server answered text/html (404): is base_url right?"),
        (200, "image/png", "The server answered image/png (200): is base_url right?"),
        (302, "", "The server answered a redirect (302): is base_url right?"),
    ],
)
def test_pages_and_redirects_are_no_models(status: int, kind: str, said: str):
    problem = misdirected(status, {"content-type": kind})

    assert problem is not None
    assert (problem.message, problem.field) == (said, "provider.base_url")
    assert not problem.retryable


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, "text/event-stream"),
        (200, "application/json"),
        (200, "text/plain"),
        (200, ""),
        (404, "application/json"),
        (502, HTML),
        (429, HTML),
        (401, HTML),
    ],
)
def test_what_a_server_or_a_proxy_may_say_is_judged_by_its_status(status: int, kind: str):
    assert misdirected(status, {"content-type": kind}) is None

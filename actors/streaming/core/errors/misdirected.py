"""Answers that no model server gives: pages for people, and ways to elsewhere. Pure."""

from collections.abc import Mapping

from schemas.problems import Problem

_PAGES = ("text/html", "application/xhtml+xml", "application/xml", "text/xml", "text/css")
_MEDIA = ("image/", "audio/", "video/", "font/")
_NOWHERE = frozenset({404, 405, 410})
"""Refusals that say there is nothing of the kind at this address."""

_FIRST_REDIRECT, _FIRST_REFUSAL = 300, 400


def misdirected(status: int, headers: Mapping[str, str]) -> Problem | None:
    """Return the problem of an answer that shows that ``base_url`` leads to something else.

    ``headers`` has lower-case names. A page with another status is that of a proxy in between.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if _FIRST_REDIRECT <= status < _FIRST_REFUSAL:
        return _problem(f"a redirect ({status})", status)
    is_page = kind in _PAGES or kind.startswith(_MEDIA)
    if is_page and (status < _FIRST_REDIRECT or status in _NOWHERE):
        return _problem(f"{kind} ({status})", status)
    return None


def _problem(answer: str, status: int) -> Problem:
    return Problem(
        code="provider_error",
        message=f"The server answered {answer}: is base_url right?",
        field="provider.base_url",
        details={"status": status},
    )

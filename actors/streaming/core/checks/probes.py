"""What is asked of an endpoint besides answers in a stream, and how that is judged. Pure.

An answer in one piece, a model that there is not, embeddings. See ``conformance`` for the rest.
"""

from math import sqrt
from typing import Any

import msgspec

from actors.streaming.core.checks.conformance import CaseFinding, Verdict
from actors.streaming.core.decoding.counts import members
from actors.streaming.core.errors.under_success import error_of
from schemas import bounds
from schemas.embeddings import Embeddings
from schemas.problems import Problem
from schemas.providers import Provider, Scripted

NO_MODEL = "no-such-model-as-this"

TEXTS = ("The sky is blue.", "She sold nine sheep at the market.", "The sky is blue.")
"""The first and the last are one text, and so must be their vectors."""

_ALIKE = 0.999
_WHOLE = ("choices", "content", "output", "message", "response")
_ABOUT_A_MODEL = frozenset({"not_found", "provider_error", "forbidden", "validation"})


def unstreamed(body: bytes) -> CaseFinding:
    """Judge the answer to a request that asks for no stream: one JSON object."""
    if body.lstrip().startswith((b"data:", b"event:", b":")):
        return CaseFinding("unstreamed", "failed", "it is a stream all the same")
    try:
        answer: Any = bounds.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return CaseFinding("unstreamed", "failed", "it is no JSON")
    if error_of(answer) is not None:
        return CaseFinding("unstreamed", "failed", "it is an error, under a status of success")
    if not any(members(answer).get(name) for name in _WHOLE):
        return CaseFinding("unstreamed", "failed", "there is no answer in it")
    return CaseFinding("unstreamed", "ok", f"one object of {len(body)} bytes")


def without_model(provider: Provider) -> Provider | None:
    """Return the provider with a model that it cannot know; None of a script."""
    if isinstance(provider, Scripted):
        return None
    gone: dict[str, Any] = {"model": NO_MODEL}
    if hasattr(provider, "deployment"):
        gone["deployment"] = NO_MODEL
    return msgspec.structs.replace(provider, **gone)


def refused_model(problem: Problem | None) -> CaseFinding:
    """Judge what an unknown model leads to: a refusal by its status; None is an answer."""
    if problem is None:
        return CaseFinding("bad model", "lacking", "the server takes any name of a model")
    said = f"{problem.code}: {problem.message}"
    status = problem.details.get("status")
    if status is None:
        return CaseFinding("bad model", "failed", f"not by a status; {said}")
    if problem.retryable or problem.code not in _ABOUT_A_MODEL:
        return CaseFinding("bad model", "failed", f"status {status}, which says {said}")
    return CaseFinding("bad model", "ok", f"status {status}, {said}")


def embedded(found: Embeddings) -> CaseFinding:
    """Judge the vectors of ``TEXTS``: whether each stands in its place."""
    first, other, again = found.vectors
    if _likeness(first, again) < _ALIKE:
        return CaseFinding("embeddings", "failed", "one text has two vectors")
    if _likeness(first, other) >= _ALIKE:
        return CaseFinding("embeddings", "failed", "two texts have one vector")
    tokens = f"{found.usage.input} tokens, {found.usage.quality}"
    return CaseFinding("embeddings", "ok", f"{len(TEXTS)} vectors of {found.dimensions}, {tokens}")


def not_embedded(case: str, problem: Problem) -> CaseFinding:
    """Judge a failure: a provider may have no embeddings, or none of another size."""
    verdict: Verdict = "failed"
    if problem.code == "validation" or (case == "dimensions" and _declined(problem)):
        verdict = "lacking"
    return CaseFinding(case, verdict, f"{problem.code}: {problem.message}")


def resized(found: Embeddings) -> CaseFinding:
    """Judge vectors that are of the size that was insisted on."""
    return CaseFinding("dimensions", "ok", f"{found.dimensions}, as asked")


def _declined(problem: Problem) -> bool:
    """Say whether the server has refused, and not ignored, what was asked."""
    return "status" in problem.details and not problem.retryable


def _likeness(one: list[float], other: list[float]) -> float:
    """The cosine of the angle between two vectors; 0 where one has no length."""
    length = sqrt(sum(x * x for x in one) * sum(y * y for y in other))
    return sum(x * y for x, y in zip(one, other, strict=True)) / length if length else 0.0

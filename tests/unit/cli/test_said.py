"""A problem as a line of the command line."""

import pytest

from actors.cli.session import rendered
from schemas.problems import Problem


@pytest.mark.parametrize(
    ("problem", "line"),
    [
        (Problem(code="conflict", message="it stands", field="id"), "conflict: it stands (id)"),
        (
            Problem(
                code="provider_error",
                message="The provider failed.",
                details={"status": 500, "provider_code": "server_error", "attempts": 5},
            ),
            "provider_error: The provider failed. [status 500, code server_error]",
        ),
        (
            Problem(code="rate_limited", message="Slowly.", retryable=True, retry_after=200.2),
            "rate_limited: Slowly. [again in 200 s]",
        ),
    ],
)
def test_it_has_what_the_provider_said_and_when_to_come_back(problem: Problem, line: str):
    assert rendered(problem) == line

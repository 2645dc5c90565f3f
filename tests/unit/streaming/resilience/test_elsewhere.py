"""What only this process lacks is tried by another one; what a provider refuses is not."""

import pytest

from actors.streaming.core.resilience.keys import KeyPool, is_of_this_process
from schemas.problems import Problem

REFUSED = Problem(code="unauthorized", message="The provider does not accept the key.")


def test_a_key_that_rests_says_so_with_its_name_and_for_how_long():
    pool = KeyPool()
    pool.rest("backstage", REFUSED, 0.0)

    said = pool.refusal(["backstage"], 36.0)

    assert said is not None
    assert said.message == (
        "The key backstage rests for 24 s after a refusal: The provider does not accept the key."
    )
    assert (said.code, said.retryable, said.details) == (
        "unauthorized",
        False,
        {"resting_seconds": 24.0},
    )
    assert is_of_this_process(said)


@pytest.mark.parametrize(
    ("problem", "elsewhere"),
    [
        (REFUSED, False),
        (Problem(code="unauthorized", message="no such secret", field="provider.secret"), True),
        (Problem(code="forbidden", message="not that host", field="provider.secret"), False),
        (Problem(code="validation", message="no URL", field="provider.base_url"), False),
    ],
)
def test_a_secret_that_is_not_here_may_be_elsewhere(problem: Problem, elsewhere: bool):
    assert is_of_this_process(problem) is elsewhere

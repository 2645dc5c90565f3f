"""The life of a session: one opening at a time, one new one for each that is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.mcp_pool.core.sessions import SessionLife, affinity_of
from schemas.tool_servers import Sharing

STEPS = st.sampled_from(["want", "opened", "failed", "lost", "lost_before"])


@given(st.lists(STEPS, max_size=200))
def test_a_session_is_opened_at_most_once_for_each_that_was_lost(steps: list[str]):
    life, opening, opened, lost = SessionLife(), 0, 0, 0
    for step in steps:
        match step:
            case "want":
                told = life.want()
                opening += told == "open"
                assert (told == "use") == (opened > lost)
            case "opened" if opening:
                opening -= 1
                opened += 1
                assert life.opened() == opened
            case "failed" if opening:
                opening -= 1
                life.failed()
            case "lost":
                lost += life.leave(life.incarnation)
            case "lost_before":
                assert not life.leave(life.incarnation - 1)
            case _:
                pass
        assert opening <= 1
        assert opened - lost in {0, 1}


def test_however_many_calls_report_a_loss_it_is_noted_once():
    life = SessionLife()
    life.want()
    first = life.opened()

    assert [life.leave(first) for _ in range(50)] == [True] + [False] * 49
    assert [life.want() for _ in range(50)] == ["open"] + ["wait"] * 49
    assert life.opened() == first + 1
    assert not life.leave(first)
    assert life.want() == "use"


@pytest.mark.parametrize(
    ("sharing", "stateless", "wanted"),
    [
        ("auto", True, ""),
        ("auto", False, "acme/agent"),
        ("auto", None, "acme/agent"),
        ("shared", False, ""),
        ("agent", True, "acme/agent"),
        ("execution", False, "acme/agent/run"),
    ],
)
def test_who_shares_a_session(sharing: Sharing, stateless: bool | None, wanted: str):
    affinity = affinity_of(
        sharing, stateless=stateless, tenant="acme", agent="agent", execution="run"
    )

    assert affinity == wanted

"""A request is held to the bounds before its handler sees it."""

from anyio.lowlevel import checkpoint

from bus.service import Caller, Endpoint
from schemas.agents import AgentList, ListAgents
from schemas.base import Message
from schemas.problems import Problem
from tests import hostile


async def _answer(caller: Caller, wanted: ListAgents) -> Message:
    del caller, wanted
    await checkpoint()
    return AgentList(agents=[], total=0, limit=0, offset=0)


async def test_a_request_beyond_the_bounds_is_refused_by_a_typed_problem():
    endpoint = Endpoint(ListAgents, _answer)
    caller = Caller(tenant="acme")
    for text in (
        hostile.nested(65),
        b'{"limit":%b}' % hostile.nested(972),
        b'{"offset":%d}' % 2**63,
    ):
        answer = await endpoint.answer(caller, text)
        assert isinstance(answer, Problem)
        assert answer.code == "validation"
        assert "nested deeper" in answer.message or "out of range" in answer.message
    assert isinstance(await endpoint.answer(caller, b"{}"), AgentList)

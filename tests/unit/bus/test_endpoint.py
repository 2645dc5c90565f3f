"""A request is held to the bounds before its handler sees it."""

from typing import Any, ClassVar

import pytest
from anyio.lowlevel import checkpoint

from bus.requests.caller import Caller
from bus.requests.service import ServiceEndpoint
from schemas.agents import AgentList, ListAgents
from schemas.base import LARGE_REQUEST_BYTES, Message, Request
from schemas.problems import Problem
from tests import hostile
from tests.lag import TOLERATED_SECONDS, measured


async def _answer(caller: Caller, wanted: ListAgents) -> Message:
    del caller, wanted
    await checkpoint()
    return AgentList(agents=[], total=0, limit=0, offset=0)


async def test_a_request_beyond_the_bounds_is_refused_by_a_typed_problem():
    endpoint = ServiceEndpoint(ListAgents, _answer)
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


class Anything(Request):
    """A request that may hold anything."""

    SUBJECT: ClassVar[str] = "tests.hold"
    REPLY: ClassVar[type[Message]] = AgentList
    ACTION: ClassVar[str] = "agents:read"
    MAX_BYTES: ClassVar[int] = LARGE_REQUEST_BYTES

    value: Any


async def _held(caller: Caller, wanted: Anything) -> Message:
    del caller, wanted
    await checkpoint()
    return AgentList(agents=[], total=0, limit=0, offset=0)


def filled(item: bytes) -> bytes:
    """Return the largest request, full of an item."""
    items = (LARGE_REQUEST_BYTES - 14) // (len(item) + 1)
    return b'{"value":[%b]}' % b",".join([item] * items)


LARGEST = {
    "the greatest integers": filled(b"9223372036854775807"),
    "great integers": filled(b"-9223372036854770000"),
    "fractions": filled(b"0.9223372036854775808"),
    "numbers": filled(b"1"),
    "digits": filled(b"0.%b" % (b"9" * 12_000_000)),
    "strings of digits": filled(b'"%b"' % (b"9" * 24)),
    "escapes": filled(b'"\\"9223372036854775808\\\\"'),
}


@pytest.mark.parametrize("name", LARGEST)
async def test_no_request_holds_up_the_loop(name: str):
    async with measured() as lag:
        await ServiceEndpoint(Anything, _held).answer(Caller(tenant="acme"), LARGEST[name])

    assert lag.longest < TOLERATED_SECONDS

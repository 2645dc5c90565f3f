"""What a caller is told when its request is refused or its handler fails, without any bus."""

from typing import NoReturn

from anyio.lowlevel import checkpoint

from bus.errors import UnavailableError
from bus.requests.caller import Caller
from bus.requests.service import ServiceEndpoint
from schemas.agents import ListAgents
from schemas.base import Message
from schemas.identity import Principal
from schemas.problems import Problem

INTERNAL = "password=hunter2 in /srv/callboard/store.db"


async def _breaks(caller: Caller, question: ListAgents) -> NoReturn:
    del caller, question
    await checkpoint()
    raise ValueError(INTERNAL)


async def _waits(caller: Caller, question: ListAgents) -> NoReturn:
    del caller, question
    await checkpoint()
    raise UnavailableError("the owner", "nobody")


async def answer_of(
    endpoint: ServiceEndpoint, data: bytes = b"{}", by: Principal | None = None
) -> Problem:
    found: Message | None = await endpoint.answer(Caller(tenant="acme", by=by), data)
    assert isinstance(found, Problem)
    return found


async def test_what_a_handler_raises_is_told_to_nobody():
    problem = await answer_of(ServiceEndpoint(ListAgents, _breaks))

    assert problem == Problem(code="internal", message="agents-list failed")


async def test_a_part_that_is_away_is_worth_a_repetition():
    problem = await answer_of(ServiceEndpoint(ListAgents, _waits))

    assert (problem.code, problem.retryable) == ("unavailable", True)


async def test_a_request_larger_than_its_kind_is_refused_before_it_is_read():
    data = b" " * (ListAgents.MAX_BYTES + 1)

    problem = await answer_of(ServiceEndpoint(ListAgents, _breaks), data)

    assert problem.code == "validation"
    assert problem.details == {"used": len(data), "allowed": ListAgents.MAX_BYTES}


async def test_a_caller_without_the_action_of_a_request_is_forbidden_it():
    guest = Principal(tenant="acme", user="guest")

    problem = await answer_of(ServiceEndpoint(ListAgents, _breaks), by=guest)

    assert problem.code == "forbidden"
    assert problem.details == {"action": ListAgents.ACTION}

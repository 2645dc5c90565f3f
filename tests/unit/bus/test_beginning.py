"""What an entity wants begun is asked for in its name, and it hears what became of that."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import anyio
import msgspec
import pytest

from bus.client.beginning import begin
from bus.codec import decode, encode
from bus.errors import CallboardError, DeadlineError, NobodyListensError
from bus.memory import MemoryProcess, memory_bus
from bus.ports import Bus, Delivery
from bus.requests.caller import Caller, caller_of
from schemas.beginnings import REPLY_TO_HEADER, Beginner, BeginWork, HasBegun
from schemas.executions import ExecutionHandle
from schemas.identity import HEADER, NOBODY, Principal
from schemas.problems import Problem
from schemas.work import ReplyTo, WorkFailure, WorkItem
from tests.hirer import SINCE
from tests.virtual import VIRTUAL_TIME, Backend

PARENT = ReplyTo(entity="parent", tenant="acme", key="p1")
ANN = Principal(tenant="acme", actions=frozenset({"executions:write"}), user="ann")
BODY = BeginWork(
    name="agents.execute",
    id="e7",
    request=msgspec.Raw(
        b'{"agent_id":"reviewer","task":"x","context":{"n":12345678901234567890.10}}'
    ),
    by=ANN,
    depth=1,
    scope="run-1",
)
ITEM = WorkItem(
    id="parent.acme.p1.w.1",
    work="w",
    attempt=1,
    queue="begin",
    tenant="acme",
    reply_to=PARENT,
    since=SINCE,
    body=BODY,
    trace="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
)
STANDS = ExecutionHandle(execution_id="e7", stream="cb.acme.stream.e7", status="RUNNING")


@pytest.fixture(scope="module")
def anyio_backend() -> Backend:
    return VIRTUAL_TIME


class Answering:
    """A transport on which each request gets the next of some answers; the last again and again."""

    def __init__(self, *answers: msgspec.Struct | CallboardError) -> None:
        self._answers = list(answers)
        self.asked: list[Delivery] = []

    async def request(
        self, subject: str, data: bytes, *, timeout: float, headers: dict[str, str] | None = None
    ) -> Delivery:
        await anyio.sleep(timeout / 1000)
        self.asked.append(Delivery(subject, data, "_INBOX.1", headers))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, CallboardError):
            raise answer
        return Delivery("_INBOX.1", encode(answer), "", None)


async def begun(*answers: msgspec.Struct | CallboardError) -> tuple[object, Sequence[Delivery]]:
    """Do the item where the bus answers so; return the report, and what was asked."""
    async with memory_bus() as world, world.process() as bus:
        transport = Answering(*answers)
        return await begin(_Doer(bus, transport), ITEM, patience=5), transport.asked


class _Doer:
    def __init__(self, bus: MemoryProcess, transport: Answering) -> None:
        self.bus: Bus = replace(bus, transport=cast("Any", transport))


async def test_the_request_is_made_in_the_name_of_its_principal_and_names_who_is_told():
    report, asked = await begun(STANDS)

    assert report == HasBegun(work="w", attempt=1, stream="cb.acme.stream.e7")
    (request,) = asked
    caller = caller_of(request)
    assert request.subject == "_cb.ask.acme.agents.execute"
    assert (caller.principal, caller.trace) == (ANN, ITEM.trace)
    assert caller.began_by == Beginner(reply_to=PARENT, depth=1, scope="run-1")
    assert b'"id":"e7"' in request.data
    # A number of the request is the same to the last digit.
    assert b"12345678901234567890.10" in request.data


@pytest.mark.parametrize("code", ["validation", "not_found", "forbidden", "budget_exceeded"])
async def test_a_refusal_is_told_and_plainly_nothing_has_begun(code: str):
    refused = msgspec.convert({"code": code, "message": "no", "type": "problem"}, Problem)
    report, asked = await begun(refused)

    assert isinstance(report, WorkFailure)
    assert (report.problem, report.sent, len(asked)) == (refused, False, 1)


async def test_it_is_asked_again_while_nobody_answers_and_then_it_may_stand():
    report, asked = await begun(DeadlineError("s", 1.0), NobodyListensError("s"), STANDS)
    assert isinstance(report, HasBegun)
    assert len({request.data for request in asked}) == 1
    assert len(asked) == 3

    silent, _ = await begun(DeadlineError("s", 1.0), NobodyListensError("s"))
    alone, _ = await begun(NobodyListensError("s"))

    assert isinstance(silent, WorkFailure)
    assert isinstance(alone, WorkFailure)
    assert (silent.sent, silent.problem.retryable) == (True, True)
    assert (alone.sent, alone.problem.code) == (False, "unavailable")


async def test_a_refusal_after_a_silence_leaves_open_whether_it_stands():
    gone = Problem(code="not_found", message="the agent is gone")
    report, _ = await begun(DeadlineError("s", 1.0), gone)

    assert isinstance(report, WorkFailure)
    assert (report.problem, report.sent) == (gone, True)


def heard(subject: str, told: str) -> Caller:
    by = encode(ANN).decode()
    return caller_of(Delivery(subject, b"", "", {HEADER: by, REPLY_TO_HEADER: told}))


def test_who_is_told_is_believed_of_the_fleet_alone():
    told = encode(Beginner(reply_to=PARENT)).decode()

    assert heard("_cb.ask.acme.agents.execute", told).began_by == Beginner(reply_to=PARENT)
    assert heard("cb.acme.agents.execute", told).began_by is None


FOREIGN = Beginner(reply_to=ReplyTo(entity="e", tenant="globex", key="k"))
ILLEGIBLE = ("", "{", "7", '{"reply_to":{"entity":"parent"}}')


@pytest.mark.parametrize("told", [*ILLEGIBLE, encode(FOREIGN).decode()])
def test_where_nobody_of_this_tenant_would_be_told_nothing_is_allowed(told: str):
    caller = heard("_cb.ask.acme.agents.execute", told)

    assert (caller.principal, caller.began_by) == (NOBODY, None)


def test_a_beginner_is_read_as_it_was_written():
    assert decode(Beginner, encode(Beginner(reply_to=PARENT, depth=2))).depth == 2

"""What follows from a declaration, apart from a bus."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bus.actor import Actor, Own
from bus.actor.declaration import at_once
from bus.actor.parts import parts_of
from bus.config import Timing
from bus.kv import Follow, Store
from bus.requests.service import answers, endpoints_of, requests_of
from bus.work.worker import Job
from schemas.agents import AgentDefinition, GetAgent
from schemas.executions import CancelExecution, ExecutionHandle
from schemas.work import Done, Stopped, WorkItem

NOTES = Store(bucket="notes", kind=str, max_bytes=1024)
OTHERS = Store(bucket="others", kind=str, max_bytes=1024, max_age=60.0, forgets=True)


class Handler:
    """Answers two requests."""

    def __init__(self, here: Any = None) -> None:
        self.here = here

    @answers(GetAgent)
    async def get(self, caller: Any, wanted: GetAgent) -> AgentDefinition:
        raise NotImplementedError

    @answers(CancelExecution)
    async def cancel(self, caller: Any, wanted: CancelExecution) -> ExecutionHandle:
        raise NotImplementedError

    async def help(self) -> None:
        """Answer nothing."""


class Heir(Handler):
    """Answers one of them otherwise, and the other no more than before."""

    @answers(GetAgent)
    async def get(self, caller: Any, wanted: GetAgent) -> AgentDefinition:
        raise NotImplementedError


def test_the_marked_methods_of_a_class_are_its_endpoints():
    heir = Heir()

    assert requests_of(Handler) == {"get": GetAgent, "cancel": CancelExecution}
    assert {each.name: each.handler for each in endpoints_of(heir)} == {
        "agents-get": heir.get,
        "executions-cancel": heir.cancel,
    }


def test_an_actor_answers_what_its_services_do_and_needs_the_stores_that_it_follows():
    follow = Follow(store=OTHERS, pattern=">", make=lambda *_: cast("Any", None), what="they are")
    actor = Actor(name="a", services=[Handler], stores=[NOTES], follows=[follow])

    assert actor.requests == (GetAgent, CancelExecution)
    assert actor.buckets == (NOTES, OTHERS)
    assert [spec.name for spec in actor.streams(Timing())] == ["KV_notes"]


def test_a_store_that_forgets_lets_its_oldest_values_go_and_any_other_refuses():
    keeping, forgetting = NOTES.spec().settings("r1"), OTHERS.spec().settings("r1")

    assert (keeping["discard"], keeping["max_age"]) == ("new", 0)
    assert (forgetting["discard"], forgetting["max_age"]) == ("old", 60 * 10**9)
    assert ("persist_mode" in keeping, "persist_mode" in forgetting) == (False, True)


@dataclass
class Doer:
    name: str

    async def do(self, item: WorkItem[Any]) -> Done:
        return Done(work=f"{self.name} {item.work}", attempt=1)

    def left(self, item: WorkItem[Any]) -> Stopped:
        return Stopped(work=self.name, attempt=item.attempt)


async def test_a_declared_job_is_done_by_whom_the_actor_has_made():
    item: Any = SimpleNamespace(work="w", attempt=1)
    plain = Job(queue="q", body_type=str, handle=Doer.do).of(Doer("ann"))
    told = Job(queue="q", body_type=str, handle=Doer.do, stopped=Doer.left).of(Doer("bob"))

    assert (await plain.handle(item)).work == "ann w"
    assert plain.stopped(item) == Stopped(work="w", attempt=1)
    assert told.stopped(item) == Stopped(work="bob", attempt=1)


def test_handlers_that_were_not_declared_are_refused():
    here: Any = SimpleNamespace(
        actor=Actor(name="a", services=[Handler]),
        follows=dict,
        projectors={},
        hosts={},
        bus=None,
        process=SimpleNamespace(timing=Timing(), load=SimpleNamespace()),
        reported_to=dict,
    )
    with pytest.raises(TypeError, match="declared are"):
        parts_of(here, Own(handlers=[Heir()]))


async def test_a_service_is_made_of_what_the_actor_has_here_unless_it_says_otherwise():
    here: Any = SimpleNamespace(actor=Actor(name="a", services=[Handler, Heir]))

    async with at_once(here) as own:
        made = cast("list[Handler]", list(own.handlers))
    assert [(type(each), each.here) for each in made] == [(Handler, here), (Heir, here)]

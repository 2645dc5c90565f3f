"""A whole actor: requests, an entity, a queue, a store, a projection. It is never imported."""

from typing import Any

from bus.actor import Actor, Here
from bus.codec import decode
from bus.ids import new_id
from bus.kv import Store
from bus.projection import Projection
from bus.requests.caller import Caller
from bus.requests.service import answers
from bus.work.worker import Job
from schemas import attempts
from schemas.attempts import Attempts, WorkEvent, WorkStarted
from schemas.base import Command, Internal, Message, Question
from schemas.decision import Decision
from schemas.entity import Entity
from schemas.ids import Token
from schemas.work import Done, ReplyTo, WorkCommand, WorkItem


class Votes(Message):
    """How many votes each item has."""

    votes: dict[str, int]


class CastVote(Command):
    """Vote for an item; a worker notes it."""

    SUBJECT, REPLY, ACTION = "ballots.cast", Votes, "agents:write"
    item: Token


class ListVotes(Question):
    """List all items."""

    SUBJECT, REPLY, ACTION = "ballots.list", Votes, "agents:read"


class Ballot(Internal):
    key: ReplyTo
    votes: int = 0
    attempts: Attempts = Attempts()


class Vote(Internal, tag="vote"):
    again: bool = False


def decide(state: Any, wanted: Any, now: Any) -> Decision:
    if not isinstance(wanted, Vote):
        return attempts.decide(state.attempts, wanted, now, attempts.Rules(most=5))
    if wanted.again:
        return Decision(attempts.again(state.attempts, now))
    cast = WorkStarted(work=str(state.votes + 1), attempt=1, at=now)
    return Decision((cast,), Votes(votes={state.key.key: state.votes + 1}))


def evolve(state: Any, event: WorkEvent) -> Ballot:
    votes = state.votes + (isinstance(event, WorkStarted) and event.attempt == 1)
    return Ballot(key=state.key, votes=votes, attempts=state.attempts.apply(event))


BALLOT = Entity(
    name="ballot",
    state_type=Ballot,
    command_type=Vote | WorkCommand,
    event_type=WorkEvent,
    decide=decide,
    evolve=evolve,
    effects=lambda it: [attempts.item(it.key, *one, "notes", Vote()) for one in it.attempts.open()],
    due=lambda state: state.attempts.due(),
    tick=Vote(again=True),
    initial=lambda tenant, key: Ballot(key=ReplyTo(entity="ballot", tenant=tenant, key=key)),
)
NOTES = Store(bucket="ballots", kind=str, max_bytes=1024**2)


async def note(here: Here, item: WorkItem[Vote]) -> Done:
    bucket, key = here.bucket(NOTES), f"{item.tenant}.{item.reply_to.key}.{item.work}"
    if await bucket.get(key) is None:
        await bucket.put(key, "noted", expected=0)
    return Done(work=item.work, attempt=item.attempt)


ADD = "INSERT INTO vote VALUES (?, ?)"
LIST = "SELECT item, count(*) FROM vote WHERE tenant = ? GROUP BY item"
CAST = Projection(
    name="votes",
    entity="ballot",
    tables="CREATE TABLE vote (tenant, item)",
    event_type=WorkStarted,
    apply=lambda rows, fact: rows.execute(ADD, (fact.tenant, fact.key)),
)


class Ballots:
    def __init__(self, here: Here) -> None:
        self.owners, self.cast = here.owners("ballot"), here.projection(CAST)

    @answers(CastVote)
    async def vote(self, caller: Caller, wanted: CastVote) -> Votes:
        envelope = caller.command(new_id(), wanted.item, Vote())
        return decode(Votes, await caller.ask(self.owners, envelope, timeout=5))

    @answers(ListVotes)
    async def list(self, caller: Caller, _: ListVotes) -> Votes:
        found = await self.cast.ask(lambda rows: rows.execute(LIST, (caller.tenant,)).fetchall())
        return Votes(votes=dict(found.value))


ACTOR = Actor(
    name="ballots",
    entities=[BALLOT],
    stores=[NOTES],
    projections=[CAST],
    services=[Ballots],
    jobs=[Job(queue="notes", body_type=Vote, handle=note)],
)

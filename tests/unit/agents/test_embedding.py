"""Embeddings as executions: what bounds them, how often they are tried, and how they end."""

from typing import Any

from hypothesis import given

from actors.agents.core.calls import FRAMING_TOKENS
from actors.agents.core.effects import effects
from actors.agents.core.embedding import accept_embedding, embedding_under
from actors.agents.core.entity import EXECUTION
from actors.agents.core.outward import record, stored_record
from actors.agents.core.prompts import lacking, prompt_of, referring
from actors.agents.core.spending import SpendingPolicy
from actors.agents.core.state import Execution
from bus.codec import encode
from bus.kv.prices import shipped_text
from schemas.bodies import BodyReference
from schemas.embeddings import RETENTION_SECONDS, Embed
from schemas.ledger import Charge
from schemas.lifecycle import (
    NOTHING_SENT,
    Accept,
    EmbedWork,
    ExecutionCommand,
    FailGeneration,
    FinishGeneration,
    Origin,
    Tick,
)
from schemas.llm import Answer, EmbedRequest, StoredVectors
from schemas.pricing.deployed import PricedAt
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import Custom, OpenAI, Provider
from schemas.steps import at_once
from schemas.terms import Restriction
from schemas.usage import Usage
from schemas.work import Lost, WorkItem
from tests.unit.agents.runs import TERMINALS, Run, Steps, steps
from tests.unit.agents.samples import NOW

PRICES = PricedAt(Prices(shipped_text()), NOW)
RATE = 20_000
SMALL = OpenAI(model="text-embedding-3-small")
MONEY = Restriction(money=True)
PART = BodyReference(name="expiring.execution.0.acme.e1.d", digest="d", bytes=16)
STORED = StoredVectors(parts=[PART], count=2, dimensions=2)
PASSING = Problem(code="provider_overloaded", message="later", retryable=True)


def after(*commands: ExecutionCommand) -> Execution:
    """Return the execution to which all this has happened."""
    run = Run()
    for command in commands:
        run.take(command)
    return run.execution


def wish(provider: Provider = SMALL, **more: Any) -> Accept:
    origin = Origin(
        kind="embed", tenant="acme", execution_id="e1", task="", digest="d", max_attempts=2
    )
    wanted = Embed(provider=provider, texts=["Hello.", "é"], **more)
    found = at_once(accept_embedding(wanted, origin, NOW))
    assert isinstance(found, Accept)
    return found


def under(wanted: Accept, *held_by: Restriction, **spending_policy: Any) -> Accept | Problem:
    assert isinstance(wanted.request, EmbedRequest)
    given = SpendingPolicy(**spending_policy)
    return embedding_under(wanted, wanted.request, held_by, given, PRICES)


def fail(attempt: int, *, final: bool = True) -> FailGeneration:
    return FailGeneration(
        work="1",
        attempt=attempt,
        problem=PASSING,
        final=final,
        deltas=NOTHING_SENT,
        started_at=NOW,
        usage=Usage(input=3),
        charges=[Charge(provider="openai", model="m", usage=Usage(input=3), cost_pico=60_000)],
    )


def finish(attempt: int) -> FinishGeneration:
    answer = Answer(text="", finish_reason="stop", usage=Usage(input=4), vectors=STORED)
    return FinishGeneration(
        work="1", attempt=attempt, answer=answer, deltas=NOTHING_SENT, started_at=NOW, charges=[]
    )


def test_a_provider_is_held_to_what_a_stored_definition_is_held_to():
    origin = wish().origin
    told = Custom(model="m", base_url="https://user:word@example.com")

    found = at_once(accept_embedding(Embed(provider=told, texts=["a"]), origin, NOW))

    assert isinstance(found, Problem)
    assert (found.code, found.field) == ("validation", "provider.base_url")


def test_an_attempt_may_cost_what_its_bytes_may():
    tokens = len("Hello.é".encode()) + 2 * FRAMING_TOKENS

    bounded = under(wish(), MONEY)

    assert isinstance(bounded, Accept)
    assert bounded.spending is not None
    assert (bounded.spending.tokens, bounded.spending.amount_pico) == (tokens, tokens * RATE)


def test_what_has_no_price_is_refused_where_a_budget_holds_and_nowhere_else():
    unheard = wish(OpenAI(model="unheard-of"))
    refused, allowed = under(unheard, MONEY), under(unheard, MONEY, unpriced="allow")

    assert isinstance(refused, Problem)
    assert refused.code == "unpriced"
    assert isinstance(allowed, Accept)
    assert isinstance(under(unheard, Restriction()), Accept)


def test_the_platforms_money_is_only_for_what_may_be_the_operators_spend():
    platform = Restriction(money=True, platform=True)
    foreign = wish(Custom(model="m", base_url="https://example.com"))
    own = under(wish(), platform)

    assert under(foreign, platform) is foreign
    assert isinstance(own, Accept)
    assert own.spending is not None
    assert own.spending.platform


def test_an_attempt_is_work_of_its_own_queue_with_the_keys_of_the_request():
    (item,) = effects(after(wish(keys=["one"])))

    assert isinstance(item, WorkItem)
    assert isinstance(item.body, EmbedWork)
    assert (item.queue, item.body.policy.keys, item.body.held) == ("embed", ["one"], False)


def test_texts_that_are_stored_apart_are_neither_in_the_state_nor_waited_for_by_the_record():
    wanted = wish()
    where = BodyReference(name="n", digest="d", bytes=9)
    state = after(referring(wanted, where))
    (item,) = effects(state)

    assert prompt_of(wanted).request == wanted.request
    assert isinstance(item, WorkItem)
    assert (item.body.request.texts, item.body.prompt) == ([], where)
    assert lacking(state) is None


def test_a_worker_that_has_failed_for_good_is_not_followed_by_another():
    final, passing = (after(wish(), fail(1, final=final)) for final in (True, False))

    assert (final.status, final.problem) == ("FAILED", PASSING)
    assert (final.usage, record(final).cost) == (Usage(input=3), 60_000)
    assert passing.status == "WAITING"


def test_a_request_that_kills_its_workers_is_not_made_for_ever():
    lost = [Lost(work="1", attempt=attempt, begun=True) for attempt in (1, 2)]
    state = after(wish(), *lost)

    assert state.current is not None
    assert (state.status, state.current.attempt) == ("FAILED", 2)


def test_the_record_says_where_the_vectors_are_and_brings_the_execution_back():
    told = record(after(wish(), finish(1)))
    entity = EXECUTION

    assert (told.kind, told.vectors, told.output, told.text) == ("embed", STORED, None, None)
    assert entity.restore is not None
    restored = entity.restore("acme", encode(told))
    assert restored is not None
    assert record(restored).vectors == STORED


def test_it_is_kept_for_an_hour():
    state = after(wish(), finish(1))

    assert stored_record(state).ttl == RETENTION_SECONDS
    assert EXECUTION.retention(state, NOW).total_seconds() == RETENTION_SECONDS


@given(steps)
def test_whatever_befalls_it_an_embedding_ends_once_and_no_attempt_is_counted_twice(
    sequence: Steps,
):
    run = Run()
    run.take(wish())
    for command, seconds in sequence:
        run.take(command, seconds)
    run.take(Tick(), 60.0)

    assert sum(isinstance(event, TERMINALS) for event in run.events) == 1
    settled = run.current.settled
    assert sorted(set(settled)) == sorted(settled)
    assert run.current.attempt <= 1 + len(sequence)
    assert record(run.execution).kind == "embed"

"""Known ways to lose a bill or to book it twice, by their numbers in the list of known defects.

What is charged comes from payloads as providers send them, through our own reader and till, and is
booked by way of an execution.
"""

from collections import Counter
from typing import Any

from msgspec.structs import replace

from actors.agents.core.state import Execution
from actors.streaming.core.resilience.routes import Route
from actors.streaming.core.tokens.charging import CostMeter
from actors.streaming.core.wires.openai_chat.reader import ChatReader
from bus.codec import decode, encode
from bus.kv.prices import shipped_text
from schemas.bills import answered as told
from schemas.ledger import Booked, Charge, Charged, Settle
from schemas.lifecycle import Tick
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.pricing.prices import Prices
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.spend import PAUSES
from tests.unit.agents.runs import NOW, Run, accepted, asks, fail, finish
from tests.unit.pricing.owner import Owner, reserve, settle
from tests.wires import answered, sse

BOOK = Prices(shipped_text())
MODEL = OpenAI(model="gpt-4o-mini")
REQUEST = GenerateRequest(provider=MODEL, messages=[ChatMessage(role="user", content="Hello")])
COST = 1_000 * 150_000 + 100 * 600_000


def charges(response_id: str = "chatcmpl-1") -> list[Charge]:
    """Return what one answer of a provider costs."""
    text = {"delta": {"content": "Hello."}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 1_000, "completion_tokens": 100, "total_tokens": 1_100}
    chunks = [
        {"id": response_id, "choices": [text]},
        {"id": response_id, "choices": [], "usage": usage},
    ]
    answer = answered(ChatReader(REQUEST), [*map(sse, chunks), b"data: [DONE]\n\n"])[1]
    meter = CostMeter(BOOK, NOW)
    meter.answered(Route(0, MODEL, ModelConfig(), (None,)), None, answer)
    return meter.charges


def bills(run: Run) -> list[Settle]:
    """Return what an execution wants to have booked and was not yet told is."""
    found: list[Any] = [ask.command for ask in asks(run.execution)]
    return [each for each in found if isinstance(each, Settle)]


def completed(run: Run, attempt: int = 1) -> Run:
    run.take(replace(finish(attempt), charges=charges()))
    return run


def booked(owner: Owner) -> Counter[str]:
    """Return the cost of each attempt that was booked."""
    costs: Counter[str] = Counter()
    for event in owner.events:
        if isinstance(event, Charged):
            costs[f"{event.reference.execution_id}.{event.reference.attempt}"] += event.cost_pico
    return costs


# 10: rows that are doubled or lost


def test_defect_10_two_calls_whose_responses_have_one_id_are_both_booked():
    owner = Owner()
    for name in ("e1", "e2"):
        owner.ask(replace(settle(name), charges=charges("chatcmpl-1")))

    assert booked(owner) == {"e1.1": COST, "e2.1": COST}


def test_defect_10_a_bill_that_comes_again_is_booked_once():
    owner = Owner()
    (bill,) = bills(completed(accepted()))
    for seconds in (0.0, 1.0, 86_400.0):
        assert owner.ask(bill, seconds=seconds) == Booked()

    assert booked(owner) == {"e1.1": COST}
    assert len([event for event in owner.events if isinstance(event, Charged)]) == 1


def test_defect_10_each_attempt_that_has_spent_is_a_row_of_its_own():
    run, owner = accepted(), Owner()
    run.take(replace(fail(1), charges=charges()))
    run.take(Tick(), 30)
    for bill in bills(completed(run, 2)):
        owner.ask(bill)

    assert booked(owner) == {"e1.1": COST, "e1.2": COST}


def test_defect_10_asking_again_for_the_same_attempt_is_no_further_request():
    owner = Owner()
    owner.limits(requests_per_minute=2)
    for _ in range(5):
        owner.ask(reserve("e1"))
    owner.ask(reserve("e2"))

    refused = owner.ask(reserve("e3"))

    assert isinstance(refused, Problem)
    assert (refused.code, refused.details["used"]) == ("rate_limited", 2)


# 11: spend that dies with its process


def test_defect_11_a_bill_stays_due_until_the_account_has_booked_it():
    run = completed(accepted())
    (ask,) = asks(run.execution)
    run.take(told(ask, encode(Problem(code="internal", message="it raised"))))
    run.state = decode(Execution, encode(run.execution))
    run.take(Tick(), PAUSES[0].total_seconds())
    (again,) = asks(run.execution)
    assert again.command == ask.command

    run.take(told(again, encode(Booked())))

    assert bills(run) == []


def test_defect_11_an_answered_bill_is_in_the_journal_and_not_in_memory_alone():
    owner = Owner()
    owner.budget(limit=10 * COST)
    owner.ask(reserve("e1", COST))
    (bill,) = bills(completed(accepted()))
    assert owner.ask(bill) == Booked()

    assert encode(owner.replayed()) == encode(owner.state)
    assert owner.account().spent == COST


def test_defect_11_a_bill_that_concerns_very_many_budgets_is_posted_to_each_of_them():
    owner = Owner()
    for number in range(150):
        owner.budget(f"b{number}", limit=10 * COST, window="total")
    (bill,) = bills(completed(accepted()))
    owner.ask(bill)

    assert [account.spent for account in owner.accounts()] == 150 * [COST]

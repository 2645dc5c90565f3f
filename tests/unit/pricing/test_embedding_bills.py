"""Bills of embeddings: each attempt of a request is booked once, however often it is told."""

from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.pricing.adapters.account import zone
from actors.pricing.core.decisions import Rules, decide
from actors.pricing.core.embeddings import NOT_PRICED, bill, reference
from actors.pricing.core.ledger import Ledger, evolve
from schemas.events import EmbeddedEvent
from schemas.ledger import AccountEvent, Charge, Charged, Party, Reference, Settle
from schemas.usage import Usage

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
USED = Usage(input=1000)
CHARGE = Charge(provider="openai", model="small", usage=USED, cost_pico=20_000, book_id="b")
TOLD = EmbeddedEvent(
    id="01a2-b3-2",
    provider="openai",
    model="small",
    texts=3,
    usage=USED,
    at=NOW,
    duration_ms=7,
    user="ann",
    project="search",
    charges=[CHARGE],
)


def test_a_bill_names_request_and_attempt_and_for_whom_it_was():
    assert bill(TOLD) == Settle(
        reference=Reference(execution_id="01a2-b3", step=0, attempt=2, at=NOW),
        party=Party(user="ann", project="search"),
        charges=[CHARGE],
        at=NOW,
        completed=True,
    )


def test_what_was_told_without_a_price_is_booked_as_unpriced():
    (charge,) = bill(msgspec.structs.replace(TOLD, charges=[])).charges

    assert charge == Charge(provider="openai", model="small", usage=USED, unpriced=NOT_PRICED)


def test_an_id_of_another_form_is_a_reference_all_the_same():
    assert reference(msgspec.structs.replace(TOLD, id="alone")).execution_id == "alone"


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 2)), max_size=40))
def test_whatever_is_told_how_often_and_in_which_order_each_attempt_is_booked_once(
    told: list[tuple[int, int]],
):
    ledger, booked = Ledger(tenant="acme"), list[AccountEvent]()
    for count, (request, attempt) in enumerate(told):
        at = NOW + timedelta(seconds=count)
        event = msgspec.structs.replace(TOLD, id=f"r-{request}-{attempt}", at=at)
        decision = decide(Rules(zones=zone), ledger, bill(event), at)
        ledger = reduce(evolve, decision.events, ledger)
        booked.extend(decision.events)

    charged = [event.cost_pico for event in booked if isinstance(event, Charged)]
    assert charged == [20_000] * len(set(told))

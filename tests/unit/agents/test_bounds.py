"""What an attempt can cost at most, before anything is spent."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.calls import FRAMING_TOKENS
from actors.agents.core.spending import SpendingPolicy, under
from bus.kv.prices import shipped_text
from schemas.bills import BillSlices
from schemas.ledger import Party
from schemas.lifecycle import Accept, Origin
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.pricing.prices import Priced, Prices
from schemas.pricing.terms import terms_of
from schemas.problems import Problem
from schemas.providers import Google, OpenAI, Provider
from schemas.terms import Restriction, Terms, restrictions
from schemas.usage import Usage
from tests.unit.agents.samples import NOW

PRICES = Prices(shipped_text())
MINI, BIG = OpenAI(model="gpt-4o-mini"), OpenAI(model="gpt-4o")
MONEY = [Restriction(money=True)]
IN, OUT = 150_000, 600_000


def accept(provider: Provider = MINI, text: str = "Hello.", policy: Policy | None = None) -> Accept:
    request = GenerateRequest(
        provider=provider,
        messages=[ChatMessage(role="user", content=text)],
        config=ModelConfig(max_tokens=100),
    )
    origin = Origin(tenant="acme", execution_id="e1", task=text, digest="d", max_attempts=3)
    return Accept(origin=origin, request=request, timeout_seconds=60, policy=policy or Policy())


def bounded(wanted: Accept, spending_policy: SpendingPolicy | None = None) -> Accept:
    found = under(wanted, MONEY, PRICES, spending_policy or SpendingPolicy(), NOW)
    assert isinstance(found, Accept)
    return found


def prompt_tokens(wanted: Accept) -> int:
    assert isinstance(wanted.request, GenerateRequest)
    size = len(msgspec.json.encode(wanted.request.messages)) + len(b"[]") + len(b"null")
    return size + 2 * FRAMING_TOKENS


def test_nothing_is_reckoned_where_nothing_holds():
    wanted = accept()

    assert under(wanted, [], PRICES, SpendingPolicy(), NOW) is wanted


def test_a_strict_bound_takes_bytes_for_tokens_and_the_whole_answer():
    wanted = accept()

    spending = bounded(wanted).spending

    tokens = prompt_tokens(wanted)
    assert spending is not None
    assert (spending.amount_pico, spending.tokens) == (tokens * IN + 100 * OUT, tokens + 100)


def test_every_alternative_may_have_to_be_paid_and_an_estimate_takes_the_dearest():
    chain = Policy(fallbacks=[Fallback(provider=BIG)])
    costs = [bounded(accept(provider)).spending for provider in (MINI, BIG)]

    strict = bounded(accept(MINI, policy=chain)).spending
    alone = bounded(accept(BIG), SpendingPolicy(bound="estimate", factor=2)).spending
    both = bounded(accept(MINI, policy=chain), SpendingPolicy(bound="estimate", factor=2)).spending

    assert strict is not None
    assert strict.amount_pico == sum(each.amount_pico for each in costs if each)
    assert both == alone


def test_an_answer_without_a_limit_is_given_one_everywhere():
    wanted = accept(policy=Policy(fallbacks=[Fallback(provider=BIG, config=ModelConfig())]))
    request = msgspec.structs.replace(wanted.request, config=ModelConfig())

    found = bounded(
        msgspec.structs.replace(wanted, request=request), SpendingPolicy(answer_tokens=64)
    )

    config = found.policy.fallbacks[0].config
    assert isinstance(found.request, GenerateRequest)
    assert (found.request.config.max_tokens, config and config.max_tokens) == (64, 64)


def test_a_model_without_a_price_is_refused_under_a_budget_unless_that_is_allowed():
    wanted = accept(OpenAI(model="of-our-own"))

    refused = under(wanted, MONEY, PRICES, SpendingPolicy(), NOW)
    allowed = bounded(wanted, SpendingPolicy(unpriced="allow")).spending
    limited = under(wanted, [Restriction()], PRICES, SpendingPolicy(), NOW)

    assert isinstance(refused, Problem)
    assert refused.code == "unpriced"
    assert allowed is not None
    assert allowed.amount_pico == 0
    assert isinstance(limited, Accept)


def test_with_slices_the_prompt_and_a_first_slice_are_reserved():
    wanted = accept()

    spending = bounded(wanted, SpendingPolicy(slice_tokens=10)).spending

    prompt = prompt_tokens(wanted) * IN
    assert spending is not None
    assert spending.amount_pico == prompt + 10 * OUT
    assert spending.slices == BillSlices(slice_pico=10 * OUT, input_pico=prompt, output_pico=OUT)


@pytest.mark.parametrize(
    ("there", "usual"),
    [
        (
            OpenAI(model="gpt-5.4", base_url="https://eu.api.openai.com/v1"),
            OpenAI(model="gpt-5.4"),
        ),
        (
            Google(model="gemini-3.5-flash", project="ours", location="us-east1"),
            Google(model="gemini-3.5-flash", project="ours"),
        ),
    ],
)
def test_a_call_in_a_dearer_region_is_bounded_by_the_prices_there(there: Provider, usual: Provider):
    def amount(provider: Provider) -> int:
        spending = bounded(accept(provider)).spending
        assert spending is not None
        assert spending.amount_pico is not None
        return spending.amount_pico

    tokens = Usage(input=prompt_tokens(accept(there)), output=100)
    cost = PRICES.price(terms_of(there), tokens, NOW)

    assert isinstance(cost, Priced)
    assert amount(there) * 10 == amount(usual) * 11
    assert amount(there) == cost.cost


@given(st.text(max_size=200), st.data())
def test_no_usage_of_a_call_costs_more_than_its_strict_bound(text: str, data: st.DataObject):
    wanted = accept(BIG, text.encode("utf-8", "replace").decode())
    spending = bounded(wanted).spending
    prompt = prompt_tokens(wanted)
    cached = data.draw(st.integers(0, prompt))
    output = data.draw(st.integers(0, 100))
    usage = Usage(
        input=prompt - cached,
        cache_read=cached,
        output=output,
        reasoning=data.draw(st.integers(0, output)),
    )

    cost = PRICES.price(terms_of(BIG), usage, NOW)

    assert isinstance(cost, Priced)
    assert spending is not None
    assert cost.cost <= spending.amount_pico


@pytest.mark.parametrize(
    ("restriction", "holds"),
    [
        (Restriction(), True),
        (Restriction(scope="user", name="ann"), True),
        (Restriction(scope="user", name="bob"), False),
        (Restriction(scope="user", name="*"), True),
        (Restriction(scope="project", name="*"), False),
        (Restriction(scope="agent", name="reviewer"), True),
    ],
)
def test_a_restriction_holds_for_those_it_names(restriction: Restriction, holds: bool):
    terms = Terms(tenant="acme", revision=1, restrictions=[restriction])

    found = restrictions(terms, Party(user="ann", agent_id="reviewer"))

    assert found == ([restriction] if holds else [])

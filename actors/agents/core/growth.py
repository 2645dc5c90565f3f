"""What an execution with tools may cost more with each step, as its conversation grows. Pure.

It is reckoned by what the same request would cost with ``GROWTH_BYTES`` more in it.
"""

import msgspec

from schemas.bills import GROWTH_BYTES, Growth, Spending
from schemas.lifecycle import Accept
from schemas.llm import ChatMessage, GenerateRequest


def lengthened(wanted: Accept) -> Accept:
    """Return the same with a conversation that is ``GROWTH_BYTES`` longer."""
    request = wanted.request
    if not isinstance(request, GenerateRequest):
        return wanted
    more = ChatMessage(role="user", content="x" * GROWTH_BYTES)
    longer = msgspec.structs.replace(request, messages=[*request.messages, more])
    return msgspec.structs.replace(wanted, request=longer)


def growing(found: Accept, longer: Accept) -> Accept:
    """Return what is wanted with what each further step may cost more."""
    if found.spending is None or longer.spending is None:
        return found
    growth = Growth(
        amount_pico=max(_prompt(longer.spending) - _prompt(found.spending), 0),
        tokens=max(longer.spending.tokens - found.spending.tokens, 0),
    )
    spending = msgspec.structs.replace(found.spending, growth=growth)
    return msgspec.structs.replace(found, spending=spending)


def _prompt(spending: Spending) -> int:
    """Return what a prompt and its answer cost at most, or the prompt alone."""
    return spending.amount_pico if spending.slices is None else spending.slices.input_pico

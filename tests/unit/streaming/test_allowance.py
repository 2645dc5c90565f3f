"""An answer that is paid for slice by slice."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import ReasoningDelta, TextDelta
from actors.streaming.core.tokens.allowance import Allowance
from schemas.bills import BillSlices
from schemas.ledger import Extend, Reference
from schemas.lifecycle import GenerateWork
from schemas.llm import GenerateRequest, ToolCall
from schemas.providers import Scripted
from tests.unit.agents.samples import NOW

SLICES = BillSlices(slice_pico=50, input_pico=200, output_pico=10)
WORK = GenerateWork(
    execution_id="e1",
    tenant="acme",
    step=1,
    attempt=2,
    segment=1,
    deadline=NOW + timedelta(seconds=60),
    request=GenerateRequest(provider=Scripted(responses=["Yes."]), messages=[]),
    decided_at=NOW,
)


def test_the_first_slice_is_held_already_and_the_next_is_asked_for_before_it_is_passed_on():
    allowance = Allowance(WORK, SLICES)

    assert allowance.spend([TextDelta("12345")]) is None
    wanted = allowance.spend([ReasoningDelta("1")])

    reference = Reference(execution_id="e1", step=1, attempt=2, at=NOW)
    assert wanted == Extend(reference=reference, slice=1, amount_pico=50)


def test_a_chunk_of_several_slices_asks_for_all_of_them_at_once():
    allowance = Allowance(WORK, SLICES)

    wanted = allowance.spend([ToolCall(id="c", name="look", arguments="{123456789}")])

    assert wanted is not None
    assert wanted.amount_pico == 100


@given(st.lists(st.text(max_size=30), max_size=30))
def test_what_was_passed_on_is_always_held(texts: Sequence[str]):
    allowance = Allowance(WORK, SLICES)
    held, spent, slices = 250, 200, 0
    for text in texts:
        wanted = allowance.spend([TextDelta(text)])
        if wanted is not None:
            slices += 1
            assert wanted.slice == slices
            held += wanted.amount_pico
            allowance.granted(wanted)
        spent += 10 * len(text.encode("utf-8", "surrogatepass"))
        assert spent <= held < spent + 250 + 50

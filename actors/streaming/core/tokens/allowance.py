"""How much of an answer is paid for, where money is held for it slice by slice. Pure."""

from collections.abc import Iterable

from actors.streaming.core.deltas import Delta
from schemas.bills import BillSlices
from schemas.ledger import Extend, Reference
from schemas.lifecycle import GenerateWork
from schemas.llm import ToolCall


class Allowance:
    """Counts what one attempt may have spent at most: a byte of an answer is at most a token.

    The prompt and a first slice are held when the attempt begins.
    """

    def __init__(self, work: GenerateWork, slices: BillSlices) -> None:
        self._work = work
        self._slices = slices
        self._held = slices.input_pico + slices.slice_pico
        self._spent = slices.input_pico
        self._granted = 0

    def spend(self, deltas: Iterable[Delta]) -> Extend | None:
        """Count what one read of a call brought; return what must be granted before it goes on."""
        size = sum(map(_size, deltas))
        self._spent += size * self._slices.output_pico
        lacking = self._spent - self._held
        if lacking <= 0:
            return None
        slices = -(-lacking // self._slices.slice_pico)
        lent = self._slices.lent_pico
        return Extend(
            reference=Reference(
                execution_id=self._work.execution_id,
                step=self._work.step,
                attempt=self._work.attempt,
                at=self._work.decided_at or self._work.deadline,
            ),
            slice=self._granted + 1,
            amount_pico=slices * self._slices.slice_pico,
            lent_pico=None if lent is None else slices * lent,
        )

    def granted(self, extend: Extend) -> None:
        """Take note that more is held."""
        self._granted = extend.slice
        self._held += extend.amount_pico


def _size(delta: Delta) -> int:
    if isinstance(delta, ToolCall):
        return len(delta.name.encode()) + len(delta.arguments.encode())
    return len(delta.text.encode("utf-8", "surrogatepass"))

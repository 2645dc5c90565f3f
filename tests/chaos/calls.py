"""Judging by the provider's own ledger: was a step asked for again that was finished?"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from schemas.executions import ExecutionRecord
from tests.chaos.faults import Woken
from tests.chaos.history import Past
from tests.chaos.provider import Call

WAKING_SECONDS = 2.0
"""Within this time of going on, a process that stood still makes the call that it was about to."""


@dataclass(slots=True)
class Calls:
    """What the provider's ledger shows of the executions that were judged.

    ``again`` are calls beyond the first of an execution, made while it had no answer. ``late`` were
    made after it had one, by a process that had been allowed to before and then stood still.
    """

    executions: int = 0
    made: int = 0
    heard_out: int = 0
    again: int = 0
    late: list[str] = field(default_factory=list[str])
    wrong: list[str] = field(default_factory=list[str])

    def judge(
        self,
        record: ExecutionRecord,
        past: Past,
        calls: Sequence[Call],
        woken: Sequence[Woken] = (),
    ) -> None:
        """Judge one execution; ``woken`` says when stopped processes went on."""
        self.executions += 1
        self.made += len(calls)
        self.heard_out += sum(call.whole for call in calls)
        after = [call for call in calls if _is_after(call, past)]
        excused = [late for call in after for late in _excuse(call, past, woken)]
        self.late += excused
        self.again += max(0, len(calls) - len(after) - 1)
        name = record.execution_id
        if len(after) > len(excused) or past.late_attempts:
            self.wrong.append(f"{name}: run again {len(after)} times though it was finished")
        if len(calls) > past.attempts:
            self.wrong.append(f"{name}: {len(calls)} calls for {past.attempts} attempts")
        said = [call.begun.text for call in calls]
        if record.status == "COMPLETED" and record.output not in said:
            self.wrong.append(f"{name}: its answer is none of the {len(said)} that were given")


def _is_after(call: Call, past: Past) -> bool:
    return past.finished_at is not None and call.begun.at > past.finished_at


def _excuse(call: Call, past: Past, woken: Sequence[Woken]) -> list[str]:
    """Say what had just gone on when a call was made; nothing if nothing had."""
    at = call.begun.at
    just = [each for each in woken if 0 <= at - each.at < WAKING_SECONDS]
    return [
        f"{call.begun.execution}: {at - (past.finished_at or 0):.2f} s after the answer, "
        f"{at - each.at:.2f} s after {each.what} went on"
        for each in just[-1:]
    ]

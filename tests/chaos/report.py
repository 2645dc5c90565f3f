"""What a run has shown, as text."""

from collections import Counter

from tests.chaos.faults import Fault
from tests.chaos.judge import Verdict
from tests.chaos.ledger import SILENCE_SECONDS, Ledger

CAUSED_SECONDS = 3.0
"""A silence that begins within this time of a fault is put down to it."""

SHOWN = 20
SLOWEST = 5
SEVERAL = "several faults, from the last on"
WHOLE = "several faults, from the first on"


def recoveries(ledger: Ledger, faults: list[Fault]) -> dict[str, list[float]]:
    """Return the seconds from a fault until an execution it had silenced moved on, by kind.

    Where nobody can move on before the fault is over, they count from then. Where another fault
    came before it moved on, that is a kind of its own, counted from the last and from the first.
    """
    found: dict[str, list[float]] = {kind: [] for kind in sorted({fault.kind for fault in faults})}
    found |= {SEVERAL: [], WHOLE: []}
    for account in ledger.accounts.values():
        for begin, end in account.silences:
            kind, took = _cause(begin, end, faults)
            found[kind].append(took)
            if kind == SEVERAL:
                found[WHOLE].append(end - begin)
    return found


def _cause(begin: float, end: float, faults: list[Fault]) -> tuple[str, float]:
    """Return what a silence is put down to, and how long it took to recover."""
    during = [fault for fault in faults if begin - CAUSED_SECONDS < fault.at < end]
    causes = [fault for fault in during if fault.at < begin + SILENCE_SECONDS] or during
    if not causes:
        return SEVERAL, end - begin
    alone = all(fault.at <= causes[-1].at for fault in during)
    over = max(fault.over for fault in during)
    return causes[-1].kind if alone else SEVERAL, max(0.0, end - over)


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of all values lie; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def text(verdict: Verdict, ledger: Ledger, faults: list[Fault], seed: int) -> str:
    """Return the report."""
    calls = verdict.calls
    kinds = Counter(fault.kind for fault in faults)
    again = sum((attempts - 1) * n for attempts, n in verdict.attempts.items())
    lines = [
        f"seed          {seed}",
        f"faults        {len(faults)}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        f"executions    {verdict.executions}, {verdict.failed} not completed",
        f"attempts      {again} beyond the first",
        f"calls         {calls.made} for {calls.executions} executions",
        f"again         {calls.again} calls of steps in flight",
        f"late          {len(calls.late)} calls more by processes that stood still meanwhile",
        f"run again     {len(calls.wrong)} finished steps",
        f"billed        {verdict.billed} executions, {len(verdict.misbilled)} wrongly",
        f"lost          {len(verdict.lost)}",
        f"doubled       {len(verdict.doubled)}",
        f"mismatched    {len(verdict.mismatched)}",
        f"thinned       {len(verdict.thinned)} stored streams whose end alone has the whole text",
        f"other faults  {len(verdict.faults) + len(verdict.surprises)}",
        "accept        " + _seconds(ledger.accept_seconds),
    ]
    lines += [
        f"recovery      {kind}: {_seconds(values)}"
        for kind, values in recoveries(ledger, faults).items()
    ]
    lines += [f"slowest       {line}" for line in _slowest(ledger, faults)]
    lines += [f"late          {line}" for line in calls.late[:SHOWN]]
    return "\n".join([*lines, *(f"  ! {line}" for line in verdict.wrong[:SHOWN])])


def _slowest(ledger: Ledger, faults: list[Fault]) -> list[str]:
    """Return the longest silences with the faults around each, to look them up in the logs.

    First those of one fault, then those of several.
    """
    silences = sorted(
        (
            (_cause(begin, end, faults)[0] == SEVERAL, begin - end, begin, execution)
            for execution, account in ledger.accounts.items()
            for begin, end in account.silences
        ),
    )
    alone = [silence for silence in silences if not silence[0]]
    return [
        f"{-length:.2f} s {execution}: {_around(begin, begin - length, faults)}"
        for _, length, begin, execution in [
            *alone[:SLOWEST],
            *silences[len(alone) : len(alone) + SLOWEST],
        ]
    ]


def _around(begin: float, end: float, faults: list[Fault]) -> str:
    during = [fault for fault in faults if begin - CAUSED_SECONDS < fault.at < end]
    return ", ".join(f"{fault.kind} {fault.at - begin:+.2f}" for fault in during)


def _seconds(values: list[float]) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, most {max(values, default=0):.2f} s, n {len(values)}"

"""What a run has shown, as text."""

from collections import Counter

from tests.chaos.judge import Verdict
from tests.chaos.ledger import SILENCE_SECONDS, Ledger
from tests.chaos.victims import WEIGHTS, Kill

CAUSED_SECONDS = 3.0
"""A silence that begins within this time of a kill is put down to it."""

SHOWN = 20
SLOWEST = 5
SEVERAL = "several kills"


def recoveries(ledger: Ledger, kills: list[Kill]) -> dict[str, list[float]]:
    """Return the seconds from a kill until an execution it had silenced moved on, by kind.

    Where another kill came before it moved on, that is a kind of its own.
    """
    found: dict[str, list[float]] = {kind: [] for kind in (*WEIGHTS, SEVERAL)}
    for account in ledger.accounts.values():
        for begin, end in account.silences:
            during = [kill for kill in kills if begin - CAUSED_SECONDS < kill.at < end]
            causes = [kill for kill in during if kill.at < begin + SILENCE_SECONDS] or during
            if not causes:
                found[SEVERAL].append(end - begin)
            elif any(causes[-1].at < kill.at for kill in during):
                found[SEVERAL].append(end - causes[-1].at)
            else:
                found[causes[-1].kind].append(end - causes[-1].at)
    return found


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of all values lie; 0 without values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def text(verdict: Verdict, ledger: Ledger, kills: list[Kill], seed: int) -> str:
    """Return the report."""
    kinds = Counter(kill.kind for kill in kills)
    repeated = {attempts: n for attempts, n in sorted(verdict.attempts.items()) if attempts > 1}
    lines = [
        f"seed          {seed}",
        f"kills         {len(kills)}: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()),
        f"executions    {verdict.executions}, {verdict.failed} not completed",
        f"attempts      executions by attempts, above one: {repeated}",
        f"lost          {len(verdict.lost)}",
        f"doubled       {len(verdict.doubled)}",
        f"mismatched    {len(verdict.mismatched)}",
        f"other faults  {len(verdict.faults)}",
        "accept        " + _seconds(ledger.accept_seconds),
    ]
    lines += [
        f"recovery      {kind}: {_seconds(values)}"
        for kind, values in recoveries(ledger, kills).items()
    ]
    lines += [f"slowest       {line}" for line in _slowest(ledger, kills)]
    wrong = verdict.lost + verdict.doubled + verdict.mismatched + verdict.faults
    return "\n".join([*lines, *(f"  ! {line}" for line in wrong[:SHOWN])])


def _slowest(ledger: Ledger, kills: list[Kill]) -> list[str]:
    """Return the longest silences with the kills around each, to look them up in the logs."""
    silences = sorted(
        (
            (end - begin, begin, end, execution)
            for execution, account in ledger.accounts.items()
            for begin, end in account.silences
        ),
        reverse=True,
    )
    return [
        f"{length:.2f} s {execution}: "
        + ", ".join(
            f"{kill.kind} {kill.at - begin:+.2f}"
            for kill in kills
            if begin - CAUSED_SECONDS < kill.at < end
        )
        for length, begin, end, execution in silences[:SLOWEST]
    ]


def _seconds(values: list[float]) -> str:
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return f"p50 {p50:.2f} s, p99 {p99:.2f} s, most {max(values, default=0):.2f} s, n {len(values)}"

"""One measured figure: what it is compared with, and what it should be."""

from typing import NamedTuple


class Row(NamedTuple):
    """A figure in ``unit``; with one beside it the target is for the ratio of the two."""

    bench: str
    what: str
    figure: float
    unit: str
    beside: float | None = None
    most: float | None = None
    least: float | None = None

    @property
    def ratio(self) -> float | None:
        """How many times what stands beside it."""
        return self.figure / self.beside if self.beside else None

    @property
    def verdict(self) -> str:
        """Whether the target is met; empty without one."""
        value = self.figure if self.ratio is None else self.ratio
        if self.most is not None:
            return "met" if value <= self.most else "MISSED"
        if self.least is not None:
            return "met" if value >= self.least else "MISSED"
        return ""

    @property
    def target(self) -> str:
        """The target as it is printed."""
        by = "" if self.beside is None else " x"
        if self.most is not None:
            return f"<= {self.most:g}{by}"
        return "" if self.least is None else f">= {self.least:g}{by}"


HEAD = f"{'bench':11} {'what':47} {'figure':>10} {'unit':7} {'beside':>8} {'ratio':>6}  target"


def line(row: Row) -> str:
    """Lay out a row below ``HEAD``."""
    beside = "" if row.beside is None else f"{row.beside:.2f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.1f}"
    return (
        f"{row.bench:11} {row.what:47} {row.figure:10.2f} {row.unit:7} {beside:>8} {ratio:>6}"
        f"  {row.target:14} {row.verdict}"
    ).rstrip()


def percentile(values: list[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

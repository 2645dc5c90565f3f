"""A figure of one step of growth."""

from typing import NamedTuple


class Figure(NamedTuple):
    """What was measured. It is to stay flat, unless it has a bound of its own in ``most``.

    A first figure below ``least`` counts as that much: it is too small to be measured well.
    """

    what: str
    value: float
    unit: str
    least: float = 0.0
    most: float | None = None
    is_flat: bool = True
    is_rate: bool = False

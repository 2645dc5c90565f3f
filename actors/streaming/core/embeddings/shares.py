"""What each of several requests has of a call that they share. Pure."""

from collections.abc import Sequence
from itertools import accumulate

from schemas.usage import COUNTS, Usage


def split(usage: Usage, weights: Sequence[int]) -> list[Usage]:
    """Divide what a call has used, by weight: the parts sum to the whole, count by count.

    Each part is the difference of two rounded shares of the total so far, so that it is less than
    one away from its exact share and nothing is lost. Without any weight all count the same.
    """
    weights = weights if sum(weights) else [1] * len(weights)
    ends = list(accumulate(weights))
    columns = {name: _parts(getattr(usage, name), ends) for name in COUNTS}
    return [
        Usage(**{name: column[place] for name, column in columns.items()}, quality=usage.quality)
        for place in range(len(weights))
    ]


def _parts(total: int, ends: Sequence[int]) -> list[int]:
    reached = [total * end // ends[-1] for end in ends]
    return [after - before for before, after in zip([0, *reached], reached, strict=False)]

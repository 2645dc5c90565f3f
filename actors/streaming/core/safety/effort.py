"""How much work the search of an attempt's texts has been, and may be at most.

Counted in steps of the search and not in seconds, so that the same texts under the same rules
always end in the same way, however busy the machine is. A step takes 0.1 to 0.5 microseconds.
"""

MOST_STEPS = 20_000_000
"""Steps of one attempt: some seconds. A million characters under a thousand words need a tenth."""

PAUSE_STEPS = 1_000
"""Steps between two pauses: up to a millisecond."""


class TooCostlyError(Exception):
    """The texts cannot be searched within ``MOST_STEPS``: they count as not searched."""


class Effort:
    """Counts the steps of one attempt."""

    __slots__ = ("_most", "_paused_at", "spent")

    def __init__(self, most: int = MOST_STEPS) -> None:
        self.spent = 0
        self._most = most
        self._paused_at = 0

    def spend(self, steps: int) -> bool:
        """Count steps, and say whether it is time for a pause.

        Raises:
            TooCostlyError: there were too many.
        """
        self.spent += steps
        if self.spent - self._paused_at < PAUSE_STEPS:
            return False
        if self.spent > self._most:
            raise TooCostlyError
        self._paused_at = self.spent
        return True

"""How often things go wrong in one history: each seed has a mixture of its own."""

from typing import NamedTuple

from tests.simulation.chance import Chance


class Rates(NamedTuple):
    """Probabilities, one draw each time the thing happens."""

    message_lost: float
    message_doubled: float
    message_late: float
    request_lost: float
    answer_lost: float
    call_late: float
    stopped_in_call: float


_OFTEN = Rates(
    message_lost=0.10,
    message_doubled=0.10,
    message_late=0.20,
    request_lost=0.05,
    answer_lost=0.08,
    call_late=0.08,
    stopped_in_call=0.02,
)


def rates_of(chance: Chance) -> Rates:
    """Draw a mixture: of every kind none, some or many."""
    return Rates(
        *(
            most * (0.0, 0.3, 1.0)[int(chance.between(f"rate of {kind}", 0, 2.999))]
            for kind, most in _OFTEN._asdict().items()
        )
    )

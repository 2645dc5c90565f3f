"""The gauges of circuits: what an operator is alarmed by."""

from typing import Literal

from actors.streaming.adapters.meter import CircuitMeter
from bus.telemetry.metrics import render
from schemas.fleet import EndpointState

State = Literal["closed", "open", "half_open"]


def of(endpoint: str, circuit: State) -> EndpointState:
    return EndpointState(endpoint=endpoint, circuit=circuit)


def shown(endpoint: str) -> float | None:
    for line in render().decode().splitlines():
        if line.startswith("callboard_circuit_state") and f'"{endpoint}"' in line:
            return float(line.rpartition(" ")[2])
    return None


def test_a_circuit_is_shown_from_its_first_opening_on():
    meter = CircuitMeter()

    meter.show([of("openai/sound", "closed"), of("openai/sick", "open")])
    assert (shown("openai/sound"), shown("openai/sick")) == (None, 2)

    meter.show([of("openai/sick", "half_open")])
    assert shown("openai/sick") == 1

    meter.show([of("openai/sick", "closed")])
    assert shown("openai/sick") == 0


def test_the_worst_of_an_endpoints_states_counts():
    CircuitMeter().show([of("groq/m", "open"), of("groq/m", "closed")])

    assert shown("groq/m") == 2


def test_what_is_forgotten_is_open_no_longer():
    meter = CircuitMeter()

    meter.show([of("groq/gone", "open")])
    meter.show([])

    assert shown("groq/gone") == 0

"""The limits of the example, and what holds without them."""

from decimal import Decimal
from pathlib import Path

from actors.pricing.config import PricingConfig
from actors.streaming.config import StreamingConfig
from bus.config import load

EXAMPLE = Path(__file__).parents[3] / "deploy" / "examples" / "env"


def _limits(environ: dict[str, str]) -> tuple[int, int | None, int | None, Decimal]:
    streaming, pricing = load(StreamingConfig, environ), load(PricingConfig, environ)
    limits = pricing.limits
    return (
        streaming.max_concurrent,
        limits.requests_per_minute,
        limits.requests_per_hour,
        pricing.cost_budget_alert_threshold,
    )


def test_the_example_sets_the_limits_of_the_requirements_and_without_it_rates_are_free():
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    environ = dict(line.split("=") for line in lines if line and not line.startswith("#"))

    assert _limits(environ) == (10, 100, 1000, Decimal(100))
    assert _limits({}) == (50, None, None, Decimal(100))

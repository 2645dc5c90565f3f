"""What every test shares."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more of what else the machine does than of the example.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on plain asyncio; a test of uvloop asks for it by overriding this fixture."""
    return "asyncio", {"use_uvloop": False}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest, so that no core is left alone with it in the end."""
    items.sort(key=lambda item: -_allowed_seconds(item))


def _allowed_seconds(item: pytest.Item) -> float:
    marks: Iterator[pytest.Mark] = item.iter_markers("timeout")
    return next((mark.args[0] for mark in marks), 0.0)

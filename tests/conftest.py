"""What every test shares."""

import gc
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

# How long an example takes says more of what else the machine does than of the example.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time find nothing new; a search is for that, with twenty times as many.
settings.register_profile("gate", UNTIMED, derandomize=True, database=None, max_examples=50)
settings.register_profile("search", UNTIMED, max_examples=1000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "gate"))

COLLECTIONS = (10_000, 20, 20)
"""As in a process of a fleet (``bus.runtime.process``)."""


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Run async tests on plain asyncio; a test of uvloop asks for it by overriding this fixture."""
    return "asyncio", {"use_uvloop": False}


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    """Undo what a command that ran in this process said about logs: its output is closed by now."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what may take longest, so that no core is left alone with it in the end.

    The tests of a file stay together: they may share a fleet.
    """
    longest: dict[Path, float] = {}
    for item in items:
        longest[item.path] = max(longest.get(item.path, 0.0), _allowed_seconds(item))
    number = Counter(item.path for item in items)
    items.sort(key=lambda item: (-longest[item.path], -number[item.path], item.path))


def pytest_collection_finish() -> None:
    """Leave thousands of collected tests out of every later look for garbage."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTIONS)


def _allowed_seconds(item: pytest.Item) -> float:
    marks: Iterator[pytest.Mark] = item.iter_markers("timeout")
    return next((mark.args[0] for mark in marks), 0.0)

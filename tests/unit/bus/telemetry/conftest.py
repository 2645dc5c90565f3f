"""Logs and traces are global to a process: each test leaves them as it found them."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from bus.telemetry import traces


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = logging.root.handlers[:], logging.root.level
    yield
    structlog.reset_defaults()
    traces.use(None)
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)

"""Which bus the tests run on: a single nats-server, or with ``TEST_BUS=cluster`` three of them."""

import os
from pathlib import Path

from bus.server import EmbeddedCluster, EmbeddedServer
from bus.testing import Server

ON_CLUSTER = os.environ.get("TEST_BUS") == "cluster"

PATIENCE = 4 if ON_CLUSTER else 1
"""Deadlines are longer by so much: a cluster that was killed takes seconds to elect its leaders."""


def local_server(data_dir: Path) -> Server:
    """Return the bus of a test, not started, that keeps what it stores below a directory."""
    return EmbeddedCluster(data_dir) if ON_CLUSTER else EmbeddedServer(data_dir)

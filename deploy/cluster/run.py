"""Runs three nats-servers on this machine as one cluster, until Ctrl-C.

python deploy/cluster/run.py
python deploy/cluster/run.py --port 14222 --data /tmp/cluster

A server that dies is started again, so that one can be killed to see what happens. The settings are
those of the files beside this one.
"""

import argparse
import signal
import sys
from functools import partial
from pathlib import Path

import anyio

from bus.errors import ConfigError
from bus.server import EmbeddedCluster, EmbeddedServer
from bus.server.cluster import node_name, ports_from
from bus.server.keeper import keep
from bus.telemetry import logs

EXIT_CONFIG = 78


async def run(data: Path, port: int) -> None:
    """Run the cluster until SIGINT or SIGTERM."""
    async with EmbeddedCluster(data, ports=ports_from(port)) as cluster:
        say_how_to_go_on(cluster)
        async with anyio.create_task_group() as tasks:
            for number, node in enumerate(cluster.nodes, start=1):
                tasks.start_soon(
                    partial(keep, node, started=partial(came_back, node_name(number), node))
                )
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                async for _ in signals:
                    break
            tasks.cancel_scope.cancel()
    print("The cluster has stopped.")


def came_back(name: str, node: EmbeddedServer) -> None:
    """Say that a server was started again."""
    print(f"{name} is back, process {node.pid}.", flush=True)


def say_how_to_go_on(cluster: EmbeddedCluster) -> None:
    """Print where the servers are, and the command that starts a fleet on them."""
    for number, node in enumerate(cluster.nodes, start=1):
        print(f"{node_name(number)}  {node.url}  process {node.pid}  log {node.log_file}")
    urls = ",".join(cluster.urls)
    print(f"Start a fleet on it: CALLBOARD_DURABILITY=r3 NATS_URL={urls} callboard up", flush=True)


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=4222, help="of the first server (4222)")
    parser.add_argument("--data", type=Path, default=Path(".callboard/cluster"))
    options = parser.parse_args()
    logs.configure("error", "console", stream=sys.stderr)
    code = 0
    try:
        anyio.run(run, options.data, options.port)
    except* ConfigError as group:
        for error in group.exceptions:
            print(error, file=sys.stderr)
        code = EXIT_CONFIG
    return code


if __name__ == "__main__":
    sys.exit(main())

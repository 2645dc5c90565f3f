"""What our nats-server is told. ``nats.conf`` at the root says the same, with the reasons."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MAX_PAYLOAD_BYTES = 16 * 1024**2

JETSTREAM: dict[str, str] = {
    "sync_interval": "always",
    "max_file_store": "72GB",
    "max_memory_store": "1GB",
}
"""Every acknowledgement means that the message is on disk. Streams reserve their ``max_bytes``."""

LIMITS: dict[str, str] = {"max_payload": "16MB", "max_pending": "256MB"}
"""A turn of a shard is one message; the server's own limit of 1 MB would refuse a large one. And so
much may wait for one connection: the server's own 64 MB are four such messages."""

LOG: dict[str, str] = {"logfile_size_limit": "64MB", "logfile_max_num": "3"}

ENVIRONMENT: dict[str, str] = {"GOGC": "50"}
"""Unless the operator says otherwise. Collected at 1.5 times what is in use rather than twice, the
server needs a fifth less memory under streams, and no processor time that could be measured."""

NAME = "callboard"

NOWHERE = 1
"""A port of this machine on which nothing listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterMember:
    """A server's place in a cluster on one machine.

    ``route_port`` is where it listens for the others, ``routes`` are where it finds them. Servers
    also tell each other where they listen, unless something lies between them: then each connects
    through its ``detour`` only.
    """

    name: str
    route_port: int
    routes: Sequence[int]
    detour: bool = False


def render(*, host: str, port: int, data_dir: Path, member: ClusterMember | None = None) -> str:
    """Return the configuration of a server that keeps everything below ``data_dir``.

    Port 0 lets the system choose; the server writes the port it got into a file there.
    """
    lines = [
        f"listen: {json.dumps(f'{host}:{port or -1}')}",
        f"server_name: {json.dumps(member.name if member else NAME)}",
        # For its health; on a port that the system chooses, told in the file of ports.
        f"http: {json.dumps('127.0.0.1:-1')}",
        f"ports_file_dir: {json.dumps(str(data_dir))}",
        f"pid_file: {json.dumps(str(data_dir / 'nats-server.pid'))}",
        f"log_file: {json.dumps(str(data_dir / 'nats-server.log'))}",
        *_lines(LOG | LIMITS),
        *(_cluster(host, member) if member else ()),
        "jetstream {",
        f"  store_dir: {json.dumps(str(data_dir / 'jetstream'))}",
        *(f"  {line}" for line in _lines(JETSTREAM)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _cluster(host: str, member: ClusterMember) -> list[str]:
    routes = [f"nats://{host}:{port}" for port in member.routes]
    return [
        "cluster {",
        f"  name: {json.dumps(NAME)}",
        f"  listen: {json.dumps(f'{host}:{member.route_port}')}",
        f"  routes: {json.dumps(routes)}",
        *([f"  advertise: {json.dumps(f'{host}:{NOWHERE}')}"] if member.detour else []),
        "}",
    ]


def _lines(settings: dict[str, str]) -> list[str]:
    return [f"{name}: {value}" for name, value in settings.items()]

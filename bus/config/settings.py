"""What an operator decides of every process, read from the environment once.

An actor's settings derive from ``Config`` and add its own: see ``bus.config.reading``.
"""

import ipaddress
import re
from typing import Annotated, Literal, Self

import msgspec

from bus.config.reading import Settings
from schemas.ids import Token
from schemas.settings import env

_USER_INFO = re.compile(r"(?<=//)[^/\s]*@")


class Secret(str):
    """A text that shows itself to nobody: its ``repr`` is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class ServerUrl(str):
    """A server's address, whose user and password do not show in its ``repr``."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(_USER_INFO.sub("***@", str(self)))


class Host(str):
    """The name of a host, or a network in CIDR notation: a wrong one raises ``ValueError``."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Check the text."""
        if "/" in text:
            ipaddress.ip_network(text, strict=False)
        return super().__new__(cls, text)


Durability = Literal["r1", "r3"]
"""One server, or three copies in a cluster. It is chosen when a stream is made, for good."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
Quota = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class QuotaTerms(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one tenant may use: as set for all, or as the operator's file says of one tenant.

    ``requests`` and ``request_bytes`` are those under way in one process, ``executions`` those open
    in the whole fleet, ``record_bytes`` those of the records of executions that ended within an
    hour. ``stream_bytes``, ``event_bytes`` and ``dead_bytes`` are what one process leaves of a
    tenant in a crowded stream of live events, of events or of dead letters: the tenant's oldest go,
    nothing is refused. The others are stored: agents, versions of one agent, and bytes of all
    versions. Templates of agents are counted apart from agents, and within the same numbers.
    ``retention_days`` is how long executions and turns of conversations are.
    """

    requests: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_REQUESTS",
            "requests of one tenant that a process has taken and not answered; a batch of "
            "thousands is no attack, and four such tenants fit",
        ),
    ] = 4096
    request_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_REQUEST_BYTES",
            "their bytes: two of the largest, or thousands of usual prompts; four tenants fit",
        ),
    ] = 32 * 1024**2
    agents: Annotated[
        Quota,
        env("CALLBOARD_QUOTA_AGENTS", "agents of one tenant, and templates; a team has dozens"),
    ] = 1000
    versions: Annotated[
        Annotated[int, msgspec.Meta(ge=2, le=2**53)],
        env(
            "CALLBOARD_QUOTA_VERSIONS",
            "versions kept of one agent or template, the newest one included; older ones are "
            "dropped, oldest first. A change a day for a quarter of a year",
        ),
    ] = 100
    definition_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_DEFINITION_BYTES",
            "bytes of all versions of a tenant's agents, and of its templates; an eighth of what a "
            "bucket holds, and ten thousand usual definitions",
        ),
    ] = 32 * 1024**2
    executions: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_EXECUTIONS",
            "executions of one tenant that have not ended, in the whole fleet; each keeps its "
            "prompt and its stream. Hours of work for one streaming process",
        ),
    ] = 10_000
    record_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_RECORD_BYTES",
            "bytes of the records of one tenant's executions that end within an hour: a quarter of "
            "what all tenants share, and 800,000 usual executions",
        ),
    ] = 1024**3
    stream_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_STREAM_BYTES",
            "bytes of live events that a process leaves of one tenant once the stream of all is "
            "three quarters full; the tenant's own oldest go first. An eighth of that stream, and "
            "half a million deltas",
        ),
    ] = 128 * 1024**2
    event_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_EVENT_BYTES",
            "the same of events for everyone: an eighth of their stream, and 300,000 events",
        ),
    ] = 128 * 1024**2
    dead_bytes: Annotated[
        Quota,
        env(
            "CALLBOARD_QUOTA_DEAD_BYTES",
            "the same of dead letters: an eighth of their stream",
        ),
    ] = 32 * 1024**2
    retention_days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=90)],
        env(
            "CALLBOARD_RETENTION_DAYS",
            "how long an execution and its turn of a conversation are stored after their end; what "
            "they have cost stays booked",
        ),
    ] = 90.0


class Config(Settings):
    """What an operator decides. Units are in the descriptions; None means not set."""

    nats_url: Annotated[
        tuple[ServerUrl, ...],
        env("NATS_URL", "NATS servers, separated by commas; may hold user and password"),
    ] = (ServerUrl("nats://127.0.0.1:4222"),)
    nats_creds: Annotated[
        str | None, env("NATS_CREDS", "path of a NATS credentials file (JWT and seed)")
    ] = None
    tenant: Annotated[
        Token, env("CALLBOARD_TENANT", "the tenant that client commands speak for")
    ] = "local"
    tenants: Annotated[
        tuple[Token, ...],
        env(
            "CALLBOARD_TENANTS",
            "tenants whose inboxes for submitted commands are made at start, separated by commas; "
            "others get theirs with their first command, if a fleet is there to hear it",
        ),
    ] = ("local",)
    max_tenants: Annotated[
        Count,
        env("CALLBOARD_MAX_TENANTS", "inboxes of tenants at most; each reserves 32 MiB of disk"),
    ] = 500
    submitted_days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=400)],
        env(
            "CALLBOARD_SUBMITTED_DAYS",
            "days for which a submitted command is tried; then it is rejected, which is told",
        ),
    ] = 7.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        env("CALLBOARD_LOG_LEVEL", "the least severe log line that is written"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        env("CALLBOARD_LOG_FORMAT", "`auto` is console on a terminal and JSON elsewhere"),
    ] = "auto"
    data: Annotated[
        str, env("CALLBOARD_DATA", "directory of the embedded server's store and of projections")
    ] = ".callboard"
    durability: Annotated[
        Durability,
        env("CALLBOARD_DURABILITY", "`r1` one server, `r3` a cluster; set when streams are made"),
    ] = "r1"
    shards: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1024)],
        env(
            "CALLBOARD_SHARDS",
            "shards of each entity type; fixed when its journal is made. Fewer store more turns "
            "with one sync of the disk, more can be spread over more processes",
        ),
    ] = 16
    metrics_port: Annotated[
        Port,
        env(
            "CALLBOARD_METRICS_PORT",
            "port of `/metrics`, `/livez` and `/readyz`; 0 takes a free one, which the heartbeat "
            "announces. A fixed port is for one process a machine or container",
        ),
    ] = 0
    metrics_host: Annotated[
        str,
        env(
            "CALLBOARD_METRICS_HOST",
            "address they listen on; in a container `0.0.0.0`, behind a network policy",
        ),
    ] = "127.0.0.1"
    secrets_file: Annotated[
        str | None,
        env(
            "CALLBOARD_SECRETS_FILE", "file that maps secret names to variables, hosts and tenants"
        ),
    ] = None
    allow_loopback: Annotated[
        bool,
        env(
            "CALLBOARD_ALLOW_LOOPBACK",
            "let agents reach providers on this machine; `callboard up` sets it",
        ),
    ] = False
    allowed_hosts: Annotated[
        tuple[Host, ...],
        env(
            "CALLBOARD_ALLOWED_HOSTS",
            "private hosts and networks (CIDR) that agents may reach, separated by commas",
        ),
    ] = ()
    quotas_file: Annotated[
        str | None,
        env(
            "CALLBOARD_QUOTAS_FILE",
            "file with the quotas of single tenants: `{acme: {agents: 20}}`; what it leaves out is "
            "as for all",
        ),
    ] = None
    quota: QuotaTerms = QuotaTerms()
    otlp_endpoint: Annotated[
        str | None,
        env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "where traces go; unset, none are made. Needs the extra `otlp`. The OpenTelemetry SDK "
            "reads this and its other `OTEL_*` variables by itself",
        ),
    ] = None

"""What an operator decides, read from the environment once and handed down frozen.

``load`` is the one place that reads the settings. An empty variable counts as unset.
"""

import difflib
import ipaddress
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec

from bus.errors import ConfigError
from schemas.ids import Token
from schemas.provider_specs import SPECS
from schemas.providers import BaseUrl, Region

OWN_PREFIX = "CALLBOARD_"

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


Durability = Literal["r1", "r3"]
"""One server, or three copies in a cluster. It is chosen when a stream is made, for good."""

Port = Annotated[int, msgspec.Meta(ge=0, le=65_535)]
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Dollars = Decimal
MOST_DOLLARS = 1_000_000


def _env(name: str, description: str) -> msgspec.Meta:
    """Name the variable of a field and say what it is for."""
    return msgspec.Meta(description=description, extra={"env": name})


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What an operator decides. Units are in the descriptions; None means not set."""

    nats_url: Annotated[
        tuple[ServerUrl, ...],
        _env("NATS_URL", "NATS servers, separated by commas; may hold user and password"),
    ] = (ServerUrl("nats://127.0.0.1:4222"),)
    nats_creds: Annotated[
        str | None, _env("NATS_CREDS", "path of a NATS credentials file (JWT and seed)")
    ] = None
    tenant: Annotated[
        Token, _env("CALLBOARD_TENANT", "the tenant that client commands speak for")
    ] = "local"
    tenants: Annotated[
        tuple[Token, ...],
        _env(
            "CALLBOARD_TENANTS",
            "tenants whose inboxes for submitted commands are made at start, separated by commas; "
            "others get theirs with their first command, if a fleet is there to hear it",
        ),
    ] = ("local",)
    max_tenants: Annotated[
        Count,
        _env("CALLBOARD_MAX_TENANTS", "inboxes of tenants at most; each reserves 32 MiB of disk"),
    ] = 500
    submitted_days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=400)],
        _env(
            "CALLBOARD_SUBMITTED_DAYS",
            "days for which a submitted command is tried; then it is rejected, which is told",
        ),
    ] = 7.0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _env("CALLBOARD_LOG_LEVEL", "the least severe log line that is written"),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        _env("CALLBOARD_LOG_FORMAT", "`auto` is console on a terminal and JSON elsewhere"),
    ] = "auto"
    data: Annotated[
        str, _env("CALLBOARD_DATA", "directory of the embedded server's store and of projections")
    ] = ".callboard"
    durability: Annotated[
        Durability,
        _env("CALLBOARD_DURABILITY", "`r1` one server, `r3` a cluster; set when streams are made"),
    ] = "r1"
    shards: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=1024)],
        _env(
            "CALLBOARD_SHARDS",
            "shards of each entity type; fixed when its journal is made. Fewer store more turns "
            "with one sync of the disk, more can be spread over more processes",
        ),
    ] = 16
    metrics_port: Annotated[
        Port,
        _env(
            "CALLBOARD_METRICS_PORT",
            "port of `/metrics`, `/livez` and `/readyz`; 0 takes a free one, which the heartbeat "
            "announces. A fixed port is for one process a machine or container",
        ),
    ] = 0
    metrics_host: Annotated[
        str,
        _env(
            "CALLBOARD_METRICS_HOST",
            "address they listen on; in a container `0.0.0.0`, behind a network policy",
        ),
    ] = "127.0.0.1"
    secrets_file: Annotated[
        str | None,
        _env(
            "CALLBOARD_SECRETS_FILE", "file that maps secret names to variables, hosts and tenants"
        ),
    ] = None
    safety_file: Annotated[
        str | None,
        _env("CALLBOARD_SAFETY_FILE", "file of safety rules that hold for every call of the fleet"),
    ] = None
    allow_loopback: Annotated[
        bool,
        _env(
            "CALLBOARD_ALLOW_LOOPBACK",
            "let agents reach providers on this machine; `callboard up` sets it",
        ),
    ] = False
    allowed_hosts: Annotated[
        tuple[str, ...],
        _env(
            "CALLBOARD_ALLOWED_HOSTS",
            "private hosts and networks (CIDR) that agents may reach, separated by commas",
        ),
    ] = ()
    quotas_file: Annotated[
        str | None,
        _env(
            "CALLBOARD_QUOTAS_FILE",
            "file with the quotas of single tenants: `{acme: {agents: 20}}`; what it leaves out is "
            "as for all",
        ),
    ] = None
    quota_requests: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_REQUESTS",
            "requests of one tenant that a process has taken and not answered; a batch of "
            "thousands is no attack, and four such tenants fit",
        ),
    ] = 4096
    quota_request_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_REQUEST_BYTES",
            "their bytes: two of the largest, or thousands of usual prompts; four tenants fit",
        ),
    ] = 32 * 1024**2
    quota_agents: Annotated[
        Count,
        _env("CALLBOARD_QUOTA_AGENTS", "agents of one tenant; a team has dozens"),
    ] = 1000
    quota_versions: Annotated[
        Annotated[int, msgspec.Meta(ge=2)],
        _env(
            "CALLBOARD_QUOTA_VERSIONS",
            "versions kept of one agent, the newest one included; older ones are dropped, oldest "
            "first. A change a day for a quarter of a year",
        ),
    ] = 100
    quota_definition_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_DEFINITION_BYTES",
            "bytes of all versions of a tenant's agents; an eighth of what the bucket holds, and "
            "ten thousand usual definitions",
        ),
    ] = 32 * 1024**2
    quota_executions: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_EXECUTIONS",
            "executions of one tenant that have not ended, in the whole fleet; each keeps its "
            "prompt and its stream. Hours of work for one streaming process",
        ),
    ] = 10_000
    quota_record_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_RECORD_BYTES",
            "bytes of the records of one tenant's executions that end within an hour: a quarter of "
            "what all tenants share, and 800,000 usual executions",
        ),
    ] = 1024**3
    quota_stream_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_STREAM_BYTES",
            "bytes of live events that a process leaves of one tenant once the stream of all is "
            "three quarters full; the tenant's own oldest go first. An eighth of that stream, and "
            "half a million deltas",
        ),
    ] = 128 * 1024**2
    quota_event_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_EVENT_BYTES",
            "the same of events for everyone: an eighth of their stream, and 300,000 events",
        ),
    ] = 128 * 1024**2
    quota_dead_bytes: Annotated[
        Count,
        _env(
            "CALLBOARD_QUOTA_DEAD_BYTES",
            "the same of dead letters: an eighth of their stream",
        ),
    ] = 32 * 1024**2
    retention_days: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=90)],
        _env(
            "CALLBOARD_RETENTION_DAYS",
            "how long an execution and its turn of a conversation are stored after their end; a "
            "tenant's own term stands in the file of quotas. Costs stay booked",
        ),
    ] = 90.0
    otlp_endpoint: Annotated[
        str | None,
        _env(
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "where traces go; unset, none are made. Needs the extra `otlp`. The OpenTelemetry SDK "
            "reads this and its other `OTEL_*` variables by itself",
        ),
    ] = None
    max_concurrent_executions: Annotated[
        Count,
        _env(
            "MAX_CONCURRENT_EXECUTIONS",
            "answers one streaming process generates at a time; a tenth more stand ready for "
            "tenants that have none under way there",
        ),
    ] = 50
    rate_limit_per_minute: Annotated[
        Count | None,
        _env(
            "RATE_LIMIT_PER_MINUTE",
            "attempts a minute that a tenant may begin, whatever limits it sets itself; unset is "
            "off",
        ),
    ] = None
    usage_limit_requests_per_hour: Annotated[
        Count | None,
        _env(
            "USAGE_LIMIT_REQUESTS_PER_HOUR",
            "attempts an hour that a tenant may begin, whatever limits it sets itself; unset is "
            "off",
        ),
    ] = None
    cost_budget_alert_threshold: Annotated[
        Dollars,
        _env(
            "COST_BUDGET_ALERT_THRESHOLD",
            "dollars a month that a tenant may spend before `budget.threshold_crossed` is told; it "
            "refuses nothing",
        ),
    ] = Decimal("100.00")
    ledger_memory_days: Annotated[
        Annotated[float, msgspec.Meta(ge=2, le=400)],
        _env(
            "CALLBOARD_LEDGER_MEMORY_DAYS",
            "days for which at least an account knows again what was paid; what comes later for "
            "the first time may be refused",
        ),
    ] = 3.0
    lapsed_holds: Annotated[
        Literal["book", "release"],
        _env(
            "CALLBOARD_LAPSED_HOLDS",
            "what becomes of held money when nobody has said what was spent: `book` it, until "
            "somebody does, or `release` it",
        ),
    ] = "book"
    stream_buffer_size: Annotated[
        Count,
        _env(
            "STREAM_BUFFER_SIZE", "live events a slow `callboard run` or `stream` keeps in memory"
        ),
    ] = 1000
    connect_timeout: Annotated[
        Seconds, _env("CONNECT_TIMEOUT", "seconds to connect to a provider")
    ] = 30.0
    execution_timeout: Annotated[
        Seconds, _env("EXECUTION_TIMEOUT", "seconds an execution may take, unless its agent says")
    ] = 300.0
    max_attempts: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=20)],
        _env("MAX_ATTEMPTS", "attempts of one step, unless the agent says"),
    ] = 5
    budget_bound: Annotated[
        Literal["strict", "estimate"],
        _env(
            "CALLBOARD_BUDGET_BOUND",
            "what is reserved before a call: `strict` takes bytes for tokens and every alternative "
            "for paid, so that nothing is overshot; `estimate` reserves less",
        ),
    ] = "strict"
    budget_estimate_factor: Annotated[
        Annotated[float, msgspec.Meta(ge=1, le=100)],
        _env("CALLBOARD_BUDGET_ESTIMATE_FACTOR", "by how much an estimate is multiplied"),
    ] = 1.25
    budget_answer_tokens: Annotated[
        Count,
        _env(
            "CALLBOARD_BUDGET_ANSWER_TOKENS", "`max_tokens` of calls under a budget that set none"
        ),
    ] = 8192
    budget_slice_tokens: Annotated[
        Count | None,
        _env(
            "CALLBOARD_BUDGET_SLICE_TOKENS",
            "reserve so many tokens of an answer at a time, and more while it goes on; unset, all",
        ),
    ] = None
    budget_when_refused: Annotated[
        Literal["fail", "wait"],
        _env(
            "CALLBOARD_BUDGET_WHEN_REFUSED",
            "whether a refused execution fails or waits for its turn",
        ),
    ] = "fail"
    budget_unpriced: Annotated[
        Literal["refuse", "allow"],
        _env("CALLBOARD_BUDGET_UNPRICED", "what becomes of models without a price under a budget"),
    ] = "refuse"
    aws_region: Annotated[
        Region | None,
        _env("AWS_REGION", "region of `bedrock` agents that name none"),
    ] = None
    provider_urls: dict[str, str] = {}
    """Where agents go that name no address, by provider; ``URLS`` are their variables."""


_NAMES_NONE = "base URL of `{}` agents that name none"


class Field(NamedTuple):
    """How one variable becomes one field."""

    field: str
    env: str
    kind: Any
    several: bool
    doc: str
    default: Any = None


def _describe(field: msgspec.structs.FieldInfo, hint: Any) -> Field:
    meta = next(
        part for part in get_args(hint)[1:] if isinstance(part, msgspec.Meta) and part.extra
    )
    kind = get_args(hint)[0]
    several = get_origin(kind) is tuple
    name = str((meta.extra or {})["env"])
    return Field(field.name, name, hint, several, meta.description or "", field.default)


def _fields() -> tuple[Field, ...]:
    hints = get_type_hints(Config, include_extras=True)
    fields = (each for each in msgspec.structs.fields(Config) if each.name != "provider_urls")
    return tuple(_describe(field, hints[field.name]) for field in fields)


FIELDS = _fields()

URLS = tuple(
    Field(spec.name, spec.variable, BaseUrl, several=False, doc=_NAMES_NONE.format(spec.name))
    for spec in SPECS
    if spec.variable is not None
)
"""The variables with addresses of providers."""


def load(environ: Mapping[str, str]) -> Config:
    """Read the settings from an environment.

    Raises:
        ConfigError: a value is wrong, or a name with our prefix is not one of ours.
    """
    _refuse_unknown(environ)
    values = {
        field.field: _value(field, text) for field in FIELDS if (text := environ.get(field.env))
    }
    for host in values.get("allowed_hosts", ()):
        _check_host(host)
    _check_dollars(values.get("cost_budget_alert_threshold", Decimal(0)))
    urls = {each.field: _value(each, text) for each in URLS if (text := environ.get(each.env))}
    return Config(**values, provider_urls=urls)


def _value(field: Field, text: str) -> Any:
    raw: Any = [part.strip() for part in text.split(",") if part.strip()] if field.several else text
    try:
        return msgspec.convert(raw, field.kind, strict=False, dec_hook=_text)
    except msgspec.ValidationError as error:
        raise ConfigError(field.env, str(error)) from None


def _text(kind: type, value: Any) -> Any:
    """Make a ``ServerUrl``; msgspec makes everything else by itself."""
    return kind(value)


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = {field.env for field in FIELDS}
    for name in sorted(environ):
        if name.startswith(OWN_PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise ConfigError(name, f"no such setting{f'; is {near[0]} meant?' if near else ''}")


def _check_dollars(amount: Decimal) -> None:
    if not (amount.is_finite() and 0 <= amount <= MOST_DOLLARS):
        raise ConfigError(
            "COST_BUDGET_ALERT_THRESHOLD", f"must be from 0 to {MOST_DOLLARS} dollars"
        )


def _check_host(host: str) -> None:
    if "/" not in host:
        return
    try:
        ipaddress.ip_network(host, strict=False)
    except ValueError as error:
        raise ConfigError("CALLBOARD_ALLOWED_HOSTS", str(error)) from None

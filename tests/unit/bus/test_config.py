"""Settings: read once, checked, masked, and all of them documented."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import pytest

from actors.agents.config import AgentsConfig
from actors.agents.core.spending import SpendingPolicy
from actors.cli.config import CliConfig
from actors.identity.config import IdentityConfig
from actors.mcp_pool.config import McpPoolConfig
from actors.pricing.config import PricingConfig
from actors.streaming.config import StreamingConfig
from actors.workflow.config import WorkflowConfig
from bus.config import Config, QuotaTerms, ServerUrl, Timing, load
from bus.config.reading import Settings, beside, variables
from bus.config.reference import constants, reference, settings
from bus.config.settings import Host
from bus.config.timing import rows
from bus.errors import ConfigError
from schemas.budgets import OperatorLimits
from schemas.provider_specs import usual_urls
from schemas.settings import env

ACTORS = (
    AgentsConfig,
    CliConfig,
    IdentityConfig,
    McpPoolConfig,
    PricingConfig,
    StreamingConfig,
    WorkflowConfig,
)
URLS = usual_urls() | {
    "openai": "https://proxy.example.com/v1",
    "anthropic": "https://claude.example.com",
    "groq": "https://groq.example.com/v1",
    "azure": "https://ours.openai.azure.com",
    "ollama": "http://10.0.0.7:11434",
}


@pytest.mark.parametrize("kind", ACTORS)
def test_an_empty_environment_gives_the_defaults(kind: type[Config]):
    assert load(kind, {}) == kind()


def test_an_empty_variable_counts_as_unset():
    assert load(AgentsConfig, {"CALLBOARD_SHARDS": "", "MAX_ATTEMPTS": ""}) == AgentsConfig()


def test_the_example_limits_what_is_unlimited_by_default():
    lines = Path("deploy/examples/env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))

    assert given.keys() <= {each.name for each in settings(ACTORS)}
    for environ, limits in ((given, (10, 100, 1000, 30)), ({}, (50, None, None, 90))):
        operator = load(PricingConfig, environ).limits
        assert limits == (
            load(StreamingConfig, environ).max_concurrent,
            operator.requests_per_minute,
            operator.requests_per_hour,
            load(Config, environ).quota.retention_days,
        )


ENVIRON = {
    "NATS_URL": "nats://a:4222, nats://b:4222",
    "NATS_CREDS": "/run/fleet.creds",
    "CALLBOARD_TENANT": "acme",
    "CALLBOARD_TENANTS": "acme, globex",
    "CALLBOARD_MAX_TENANTS": "50",
    "CALLBOARD_SUBMITTED_DAYS": "1.5",
    "CALLBOARD_LOG_LEVEL": "debug",
    "CALLBOARD_LOG_FORMAT": "json",
    "CALLBOARD_DATA": "/data",
    "CALLBOARD_DURABILITY": "r3",
    "CALLBOARD_SHARDS": "64",
    "CALLBOARD_METRICS_PORT": "9464",
    "CALLBOARD_METRICS_HOST": "::1",
    "CALLBOARD_SECRETS_FILE": "/run/secrets.yaml",
    "CALLBOARD_SAFETY_FILE": "/run/safety.yaml",
    "CALLBOARD_ALLOW_LOOPBACK": "true",
    "CALLBOARD_ALLOWED_HOSTS": "model.internal,10.0.0.0/8,fd00::/8",
    "CALLBOARD_QUOTAS_FILE": "/run/quotas.yaml",
    "CALLBOARD_QUOTA_REQUESTS": "11",
    "CALLBOARD_QUOTA_REQUEST_BYTES": "12",
    "CALLBOARD_QUOTA_AGENTS": "13",
    "CALLBOARD_QUOTA_VERSIONS": "14",
    "CALLBOARD_QUOTA_DEFINITION_BYTES": "15",
    "CALLBOARD_QUOTA_EXECUTIONS": "16",
    "CALLBOARD_QUOTA_RECORD_BYTES": "17",
    "CALLBOARD_QUOTA_STREAM_BYTES": "18",
    "CALLBOARD_QUOTA_EVENT_BYTES": "19",
    "CALLBOARD_QUOTA_DEAD_BYTES": "20",
    "CALLBOARD_RETENTION_DAYS": "7.5",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318",
    "MAX_CONCURRENT_EXECUTIONS": "10",
    "RATE_LIMIT_PER_MINUTE": "100",
    "USAGE_LIMIT_REQUESTS_PER_HOUR": "1000",
    "COST_BUDGET_ALERT_THRESHOLD": "12.50",
    "CALLBOARD_LEDGER_MEMORY_DAYS": "7",
    "CALLBOARD_LAPSED_HOLDS": "release",
    "STREAM_BUFFER_SIZE": "500",
    "CONNECT_TIMEOUT": "5",
    "EXECUTION_TIMEOUT": "60.5",
    "MAX_ATTEMPTS": "3",
    "MCP_SERVERS_FILE": "/run/servers.yaml",
    "MCP_MAX_CALLS": "64",
    "CALLBOARD_ISSUER_FILE": "/run/issuer",
    "CALLBOARD_CONNECTION_SECONDS": "600",
    "CALLBOARD_BUDGET_BOUND": "estimate",
    "CALLBOARD_BUDGET_ESTIMATE_FACTOR": "1.5",
    "CALLBOARD_BUDGET_ANSWER_TOKENS": "1000",
    "CALLBOARD_BUDGET_SLICE_TOKENS": "200",
    "CALLBOARD_BUDGET_WHEN_REFUSED": "wait",
    "CALLBOARD_BUDGET_UNPRICED": "allow",
    "OPENAI_BASE_URL": "https://proxy.example.com/v1",
    "ANTHROPIC_BASE_URL": "https://claude.example.com",
    "GROQ_BASE_URL": "https://groq.example.com/v1",
    "AZURE_OPENAI_ENDPOINT": "https://ours.openai.azure.com",
    "OLLAMA_BASE_URL": "http://10.0.0.7:11434",
    "AWS_REGION": "eu-west-1",
    "CALLBOARD_REQUEST_TIMEOUT": "4",
    "CALLBOARD_FIRST_BYTE_TIMEOUT": "6",
    "CALLBOARD_COLD_START_TIMEOUT": "7",
    "CALLBOARD_IDLE_TIMEOUT": "8",
    "CALLBOARD_PROGRESS_TIMEOUT": "9",
    "CALLBOARD_TRAILING_TIMEOUT": "10",
    "CALLBOARD_KEEP_ALIVE": "11",
    "CALLBOARD_LIMIT_PATIENCE": "12",
}


def test_every_setting_of_all_processes_is_read_from_its_variable():
    assert load(Config, {name: ENVIRON[name] for name in names(Config)}) == Config(
        nats_url=(ServerUrl("nats://a:4222"), ServerUrl("nats://b:4222")),
        nats_creds="/run/fleet.creds",
        tenant="acme",
        tenants=("acme", "globex"),
        max_tenants=50,
        submitted_days=1.5,
        log_level="debug",
        log_format="json",
        data="/data",
        durability="r3",
        shards=64,
        metrics_port=9464,
        metrics_host="::1",
        secrets_file="/run/secrets.yaml",
        allow_loopback=True,
        allowed_hosts=tuple(map(Host, ("model.internal", "10.0.0.0/8", "fd00::/8"))),
        quotas_file="/run/quotas.yaml",
        quota=QuotaTerms(
            requests=11,
            request_bytes=12,
            agents=13,
            versions=14,
            definition_bytes=15,
            executions=16,
            record_bytes=17,
            stream_bytes=18,
            event_bytes=19,
            dead_bytes=20,
            retention_days=7.5,
        ),
        otlp_endpoint="http://collector:4318",
    )


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (
            AgentsConfig,
            {
                "limits": OperatorLimits(requests_per_minute=100, requests_per_hour=1000),
                "execution_timeout": 60.5,
                "max_attempts": 3,
                "request_timeout": 4.0,
                "spending_policy": SpendingPolicy(
                    bound="estimate",
                    factor=1.5,
                    answer_tokens=1000,
                    slice_tokens=200,
                    when_refused="wait",
                    unpriced="allow",
                    urls=URLS,
                ),
            },
        ),
        (CliConfig, {"stream_buffer_size": 500}),
        (
            PricingConfig,
            {
                "limits": OperatorLimits(requests_per_minute=100, requests_per_hour=1000),
                "cost_budget_alert_threshold": Decimal("12.50"),
                "ledger_memory_days": 7.0,
                "lapsed_holds": "release",
            },
        ),
        (WorkflowConfig, {"request_timeout": 4.0}),
        (McpPoolConfig, {"servers_file": "/run/servers.yaml", "max_calls": 64}),
        (IdentityConfig, {"issuer_file": "/run/issuer", "connection_seconds": 600}),
        (
            StreamingConfig,
            {
                "max_concurrent": 10,
                "safety_file": "/run/safety.yaml",
                "urls": URLS,
                "aws_region": "eu-west-1",
                "connect_timeout": 5.0,
                "first_byte_timeout": 6.0,
                "cold_start_timeout": 7.0,
                "idle_timeout": 8.0,
                "progress_timeout": 9.0,
                "trailing_timeout": 10.0,
                "keep_alive": 11.0,
                "limit_patience": 12.0,
            },
        ),
    ],
)
def test_every_setting_of_an_actor_is_read_from_its_variable(
    kind: type[Config], own: dict[str, object]
):
    read, common = (
        load(kind, ENVIRON),
        load(Config, {name: ENVIRON[name] for name in names(Config)}),
    )

    assert {name: getattr(read, name) for name in own} == own
    assert set(own) == set(kind.__struct_fields__) - set(Config.__struct_fields__)
    assert all(getattr(read, name) == getattr(common, name) for name in Config.__struct_fields__)


def names(*kinds: type[Settings]) -> set[str]:
    return {each.name for kind in kinds for each in variables(kind)}


def test_the_environment_above_sets_every_setting_there_is():
    assert set(ENVIRON) == names(*ACTORS)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLBOARD_TENANT", "acme.corp"),
        ("CALLBOARD_TENANT", "*"),
        ("CALLBOARD_LOG_LEVEL", "loud"),
        ("CALLBOARD_LOG_FORMAT", "xml"),
        ("CALLBOARD_DURABILITY", "r2"),
        ("CALLBOARD_QUOTA_AGENTS", "-1"),
        ("CALLBOARD_QUOTA_VERSIONS", "1"),
        ("CALLBOARD_BUDGET_ESTIMATE_FACTOR", "0.5"),
        ("CALLBOARD_IDLE_TIMEOUT", "0"),
        ("STREAM_BUFFER_SIZE", "0"),
        ("CALLBOARD_SHARDS", "0"),
        ("CALLBOARD_SHARDS", "many"),
        ("CALLBOARD_METRICS_PORT", "65536"),
        ("CALLBOARD_ALLOW_LOOPBACK", "perhaps"),
        ("CALLBOARD_ALLOWED_HOSTS", "10.0.0.0/64"),
        ("MAX_CONCURRENT_EXECUTIONS", "-1"),
        ("RATE_LIMIT_PER_MINUTE", "0"),
        ("COST_BUDGET_ALERT_THRESHOLD", "-1"),
        ("COST_BUDGET_ALERT_THRESHOLD", "nan"),
        ("COST_BUDGET_ALERT_THRESHOLD", "much"),
        ("CALLBOARD_LEDGER_MEMORY_DAYS", "1"),
        ("EXECUTION_TIMEOUT", "0"),
        ("EXECUTION_TIMEOUT", "nan"),
        ("EXECUTION_TIMEOUT", "inf"),
        ("MAX_ATTEMPTS", "21"),
        ("OPENAI_BASE_URL", "proxy.example.com"),
    ],
)
def test_a_wrong_value_refuses_to_start_and_names_the_variable(name: str, value: str):
    kinds = [kind for kind in ACTORS if name in names(kind)]
    assert kinds
    for kind in kinds:
        with pytest.raises(ConfigError) as refused:
            load(kind, {name: value})
        assert refused.value.name == name


@pytest.mark.parametrize("kind", [Config, *ACTORS])
def test_an_unknown_name_with_our_prefix_refuses_to_start_and_says_what_may_be_meant(
    kind: type[Config],
):
    with pytest.raises(ConfigError) as refused:
        load(kind, {"CALLBOARD_TENNANT": "acme"})
    assert refused.value.name == "CALLBOARD_TENNANT"
    assert refused.value.reason == "no such setting; is CALLBOARD_TENANT meant?"


def test_names_of_other_programs_are_none_of_our_business():
    environ = {"PATH": "/bin", "OPENAI_API_KEY": "sk-made-up", "callboard_tenant": "x"}
    assert load(StreamingConfig, environ) == StreamingConfig()


@pytest.mark.parametrize("kind", ACTORS)
def test_the_settings_of_other_actors_are_known_and_left_to_them(kind: type[Config]):
    environ = {"CALLBOARD_SAFETY_FILE": "x", "CALLBOARD_LAPSED_HOLDS": "?"}

    assert set(beside(kind)) == set(ACTORS)
    if kind is AgentsConfig:
        assert load(kind, environ) == kind()


class Sample(Settings):
    """Settings of an actor that has none beside it."""

    twice: Annotated[int, env("CALLBOARD_SHARDS", "another meaning")] = 1


class Undeclared(Settings):
    """It has a field that no variable fills."""

    bare: int = 1


def test_one_variable_has_one_meaning():
    with pytest.raises(ValueError, match="CALLBOARD_SHARDS"):
        settings([Sample])


def test_a_field_without_a_variable_is_no_setting():
    with pytest.raises(TypeError, match="bare"):
        load(Undeclared, {})


def test_no_password_shows_when_the_settings_are_printed():
    config = load(Config, {"NATS_URL": "nats://fleet:p@ssword@host:4222"})
    shown = f"{config} {config!r}"
    assert "nats://***@host:4222" in shown
    assert "ssword" not in shown
    assert config.nats_url == ("nats://fleet:p@ssword@host:4222",)


ALL = beside(CliConfig)


def test_every_setting_has_a_row_with_a_meaning():
    rows = settings(ALL)
    assert all(each.meaning for each in rows)
    assert {each.name for each in rows} > names(*ACTORS)
    assert all(f"| `{each.name}` |" in reference(ALL) for each in rows)


@pytest.mark.parametrize("kind", ACTORS)
def test_a_written_default_reads_back_as_the_default(kind: type[Config]):
    table = [line.split("|") for line in reference([kind]).splitlines()[2:]]
    written = {name.strip(" `"): default.strip(" `") for _, name, default, *_ in table}
    assert load(kind, written) == kind()


def test_every_constant_has_a_reason():
    assert [name for name, _, reason in rows() if not reason] == []
    assert {name for name, _, _ in rows()} == set(Timing.__struct_fields__)
    assert constants().count("\n") == len(rows()) + 2


def test_the_constants_fit_each_other():
    timing = Timing()
    assert timing.member_gone_seconds >= 4 * timing.heartbeat_seconds
    assert timing.ack_wait_seconds >= 4 * timing.heartbeat_seconds
    assert timing.ack_wait_seconds + timing.heartbeat_seconds <= 3
    assert timing.retry_least_seconds < timing.retry_most_seconds < timing.request_try_seconds
    assert timing.answer_seconds > timing.member_gone_seconds + timing.request_try_seconds
    assert timing.blob_bytes < timing.turn_bytes
    assert timing.journal_retention_days <= timing.record_retention_days

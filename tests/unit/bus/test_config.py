"""Settings: read once, checked, masked, and all of them documented."""

import runpy
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest

from bus.config import Config, Timing, load
from bus.config.reference import constants, reference, settings
from bus.config.timing import rows
from bus.errors import ConfigError


def test_an_empty_environment_gives_the_defaults():
    assert load({}) == Config()


def test_an_empty_variable_counts_as_unset():
    assert load({"CALLBOARD_SHARDS": "", "MAX_ATTEMPTS": ""}) == Config()


def test_the_example_limits_what_is_unlimited_by_default():
    lines = Path("deploy/examples/env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    example, usual = load(given), Config()

    assert given.keys() <= {name for name, _, _ in settings()}
    for config, limits in ((example, (10, 100, 1000)), (usual, (50, None, None))):
        assert limits == (
            config.max_concurrent_executions,
            config.rate_limit_per_minute,
            config.usage_limit_requests_per_hour,
        )
    assert (example.retention_days, usual.retention_days) == (30, 90)


def test_every_setting_is_read_from_its_variable():
    environ = {
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
        "CALLBOARD_RETENTION_DAYS": "7.5",
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
    }
    assert msgspec.structs.asdict(load(environ)) == {
        "nats_url": ("nats://a:4222", "nats://b:4222"),
        "nats_creds": "/run/fleet.creds",
        "tenant": "acme",
        "tenants": ("acme", "globex"),
        "max_tenants": 50,
        "submitted_days": 1.5,
        "log_level": "debug",
        "log_format": "json",
        "data": "/data",
        "durability": "r3",
        "shards": 64,
        "metrics_port": 9464,
        "metrics_host": "::1",
        "secrets_file": "/run/secrets.yaml",
        "safety_file": "/run/safety.yaml",
        "allow_loopback": True,
        "allowed_hosts": ("model.internal", "10.0.0.0/8", "fd00::/8"),
        "quotas_file": "/run/quotas.yaml",
        "quota_requests": 11,
        "quota_request_bytes": 12,
        "quota_agents": 13,
        "quota_versions": 14,
        "quota_definition_bytes": 15,
        "quota_executions": 16,
        "quota_record_bytes": 17,
        "quota_stream_bytes": 18,
        "quota_event_bytes": 19,
        "quota_dead_bytes": 20,
        "retention_days": 7.5,
        "otlp_endpoint": "http://collector:4318",
        "max_concurrent_executions": 10,
        "rate_limit_per_minute": 100,
        "usage_limit_requests_per_hour": 1000,
        "cost_budget_alert_threshold": Decimal("12.50"),
        "ledger_memory_days": 7.0,
        "lapsed_holds": "release",
        "stream_buffer_size": 500,
        "connect_timeout": 5.0,
        "execution_timeout": 60.5,
        "max_attempts": 3,
        "budget_bound": "estimate",
        "budget_estimate_factor": 1.5,
        "budget_answer_tokens": 1000,
        "budget_slice_tokens": 200,
        "budget_when_refused": "wait",
        "budget_unpriced": "allow",
        "aws_region": "eu-west-1",
        "provider_urls": {
            "openai": "https://proxy.example.com/v1",
            "anthropic": "https://claude.example.com",
            "groq": "https://groq.example.com/v1",
            "azure": "https://ours.openai.azure.com",
            "ollama": "http://10.0.0.7:11434",
        },
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CALLBOARD_TENANT", "acme.corp"),
        ("CALLBOARD_TENANT", "*"),
        ("CALLBOARD_LOG_LEVEL", "loud"),
        ("CALLBOARD_LOG_FORMAT", "xml"),
        ("CALLBOARD_DURABILITY", "r2"),
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
    with pytest.raises(ConfigError) as refused:
        load({name: value})
    assert refused.value.name == name


def test_an_unknown_name_with_our_prefix_refuses_to_start_and_says_what_may_be_meant():
    with pytest.raises(ConfigError) as refused:
        load({"CALLBOARD_TENNANT": "acme"})
    assert refused.value.name == "CALLBOARD_TENNANT"
    assert refused.value.reason == "no such setting; is CALLBOARD_TENANT meant?"


def test_names_of_other_programs_are_none_of_our_business():
    assert (
        load({"PATH": "/bin", "OPENAI_API_KEY": "sk-made-up", "callboard_tenant": "x"}) == Config()
    )


def test_no_password_shows_when_the_settings_are_printed():
    config = load({"NATS_URL": "nats://fleet:p@ssword@host:4222"})
    shown = f"{config} {config!r}"
    assert "nats://***@host:4222" in shown
    assert "ssword" not in shown
    assert config.nats_url == ("nats://fleet:p@ssword@host:4222",)


def test_every_setting_has_a_row_with_a_meaning():
    assert all(setting.doc for setting in settings())
    assert len({setting.name for setting in settings()}) == len(settings())
    assert all(f"| `{setting.name}` |" in reference() for setting in settings())


def test_a_written_default_reads_back_as_the_default():
    written = {setting.name: setting.default for setting in settings() if setting.default}
    assert load(written) == Config()


def test_the_tables_are_printed_on_demand(capsys: pytest.CaptureFixture[str]):
    runpy.run_module("bus.config", run_name="__main__")
    assert capsys.readouterr().out == f"{reference()}\n{constants()}"


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

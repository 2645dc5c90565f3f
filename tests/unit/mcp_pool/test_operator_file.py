"""The operator's servers by file and by variable, and the secrets that go to them."""

from pathlib import Path

import pytest

from actors.mcp_pool.adapters.addressing import Addressing
from actors.mcp_pool.adapters.operator_file import named_servers
from actors.mcp_pool.config import McpPoolConfig
from bus.errors import ConfigError, ProblemError
from bus.security.secrets import SecretEntry, Secrets

FILE = """
notion:
  url: https://mcp.notion.example/mcp
  secret: notion
  secret_headers: {X-Team: team}
  tenants: [acme]
files:
  command: [server-filesystem, /tmp]
  env: {MODE: ro}
  env_from: [TOKEN, ABSENT]
  replicas: 3
  tools: {repeatable: ["read_*"], once: [read_once]}
"""
ENVIRON = {"TOKEN": "t-value", "NOTION": "n-value", "OTHER": "o-value"}


def config(folder: Path, text: str) -> McpPoolConfig:
    file = folder / "servers.yaml"
    file.write_text(text, encoding="utf-8")
    return McpPoolConfig(servers_file=str(file))


def test_servers_come_from_a_file_and_from_variables(tmp_path: Path):
    environ = {"MCP_SLACK_URL": "http://127.0.0.1:8003/mcp", "MCP_OTHER": "x", "MCP_EMPTY_URL": ""}
    named = named_servers(config(tmp_path, FILE), environ)

    assert set(named) == {"notion", "files", "slack"}
    assert [place.lane for place in named["files"].spec.places] == ["stdio"] * 3
    assert named["slack"].spec.places[0].url == "http://127.0.0.1:8003/mcp"
    assert named["slack"].may_use("anybody")
    assert named["notion"].may_use("acme")
    assert not named["notion"].may_use("other")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("x: {}", "either a url or a command"),
        ("x: {url: http://a, command: [b]}", "either a url or a command"),
        ("x: {url: ftp://a}", "url"),
        ("x: {command: [a], env_from: ['A=B']}", "env_from"),
        ("x: {command: [a], colour: red}", "colour"),
        ("'a b': {command: [a]}", "servers.yaml"),
        ("agents: {url: http://a}", "built-in server"),
        ("- x", "servers.yaml"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, words: str):
    with pytest.raises(ConfigError, match="MCP_SERVERS_FILE") as refused:
        named_servers(config(tmp_path, text), {})
    assert words in str(refused.value)


def test_a_server_is_named_once_and_by_a_url(tmp_path: Path):
    with pytest.raises(ConfigError, match="MCP_NOTION_URL"):
        named_servers(config(tmp_path, FILE), {"MCP_NOTION_URL": "http://a"})
    with pytest.raises(ConfigError, match="MCP_A_URL"):
        named_servers(McpPoolConfig(), {"MCP_A_URL": "no url"})


def test_secrets_and_variables_go_where_they_are_named_and_nowhere_else(tmp_path: Path):
    named = named_servers(config(tmp_path, FILE), {})
    host = "mcp.notion.example"
    secrets = Secrets(
        {
            "notion": SecretEntry(env="NOTION", hosts=(host,), tenants=("acme",)),
            "team": SecretEntry(env="TOKEN", hosts=(host,)),
        },
        ENVIRON,
    )
    addressing = Addressing(secrets, ENVIRON)
    notion = addressing(named["notion"].spec, 0, "acme")
    files = addressing(named["files"].spec, 2, "acme")

    assert notion.headers == {"Authorization": "Bearer n-value", "X-Team": "t-value"}
    assert notion.env == {}
    assert files.env == {"MODE": "ro", "TOKEN": "t-value"}
    assert files.headers == {}
    with pytest.raises(ProblemError) as refused:
        addressing(named["notion"].spec, 0, "other")
    assert refused.value.problem.code == "unauthorized"
    assert "n-value" not in str(refused.value)

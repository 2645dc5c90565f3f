"""The servers that the operator has named: in a file, or each by a variable ``MCP_<NAME>_URL``."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from actors.mcp_pool.config import McpPoolConfig
from actors.mcp_pool.core.servers import ServerSpec, operators_spec
from bus import files
from bus.codec import convert
from bus.errors import ConfigError, ProblemError
from schemas.tool_servers import OperatorServer
from schemas.tools import ServerName

FILE_SETTING = "MCP_SERVERS_FILE"

_VARIABLE = re.compile(r"MCP_([A-Z0-9][A-Z0-9_]{0,63})_URL\Z")


class NamedServer(NamedTuple):
    """A server of the operator, and which tenants may use it."""

    spec: ServerSpec
    tenants: tuple[str, ...]
    description: str

    def may_use(self, tenant: str) -> bool:
        """Say whether a tenant may use it."""
        return "*" in self.tenants or tenant in self.tenants


def named_servers(config: McpPoolConfig, environ: Mapping[str, str]) -> dict[str, NamedServer]:
    """Return the operator's servers by name.

    Raises:
        ConfigError: the file or a variable is wrong, or both name a server.
    """
    found = _of_file(config.servers_file) if config.servers_file else {}
    for variable, url in sorted(environ.items()):
        match = _VARIABLE.match(variable)
        if match is None or not url:
            continue
        name = match[1].lower()
        if name in found:
            raise ConfigError(variable, f"the server {name} stands in {FILE_SETTING} already")
        try:
            found[name] = _named(name, convert(OperatorServer, {"url": url}), variable)
        except ProblemError as error:
            raise ConfigError(variable, error.problem.message) from None
    return found


def _of_file(path: str) -> dict[str, NamedServer]:
    try:
        servers = files.of(Path(path), dict[ServerName, OperatorServer])
    except ProblemError as error:
        raise ConfigError(FILE_SETTING, error.said()) from None
    return {name: _named(name, server, FILE_SETTING) for name, server in servers.items()}


def _named(name: str, server: OperatorServer, setting: str) -> NamedServer:
    spec = operators_spec(name, server)
    if isinstance(spec, str):
        raise ConfigError(setting, spec)
    return NamedServer(spec, server.tenants, server.description)

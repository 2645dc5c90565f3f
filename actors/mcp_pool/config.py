"""The settings of an MCP pool."""

from typing import Annotated, ClassVar

from bus.config import Config
from bus.config.reading import Variable
from schemas.settings import Count, env


class McpPoolConfig(Config):
    """One process that calls tools of MCP servers."""

    AT_USE: ClassVar[tuple[Variable, ...]] = (
        Variable(
            "MCP_<NAME>_URL",
            "an MCP server under the name in small letters, as MCP_NOTION_URL is `notion`; it may "
            "be on this machine, and every tenant may use it",
        ),
    )

    servers_file: Annotated[
        str | None,
        env(
            "MCP_SERVERS_FILE",
            "file of MCP servers by name: `{notion: {url: …}, files: {command: […]}}`",
        ),
    ] = None
    max_calls: Annotated[
        Count,
        env(
            "MCP_MAX_CALLS",
            "calls of tools that one process holds at a time, those that wait for a server "
            "included; a server that hangs takes half of them at most",
        ),
    ] = 1024

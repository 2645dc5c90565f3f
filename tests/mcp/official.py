"""A server of the official SDK in this process, over Streamable HTTP or the older SSE.

    python -m tests.mcp.official

serves behind standard input and output.
"""

import logging
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Literal

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp_types import ToolAnnotations
from pydantic import BaseModel

Way = Literal["http", "json", "sse"]
PROCESS_SECONDS = 10


class Weather(BaseModel):
    """What a structured tool answers."""

    city: str
    degrees: float


def official() -> MCPServer:
    """Return a server with a tool of each kind, a resource and a prompt."""
    server = MCPServer("official", log_level="CRITICAL")

    @server.tool(annotations=ToolAnnotations(read_only_hint=True))
    def weather(city: str) -> Weather:
        """Say how warm a city is."""
        return Weather(city=city, degrees=21.5)

    @server.tool()
    async def counted(steps: int, ctx: Context) -> str:
        """Count, and tell of each step."""
        for step in range(steps):
            await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        return "counted"

    @server.tool()
    def broken() -> str:
        """Fail."""
        raise ValueError("it cannot be done")

    @server.resource("notes://today")
    def today() -> str:
        """Hold a note."""
        return "a note"

    @server.prompt()
    def greet(name: str) -> str:
        """Greet somebody."""
        return f"Hello {name}"

    assert all((weather, counted, broken, today, greet))
    return server


@asynccontextmanager
async def serving(way: Way) -> AsyncGenerator[str]:
    """Run the server; yield its URL."""
    server = official()
    app = (
        server.sse_app()
        if way == "sse"
        else server.streamable_http_app(json_response=way == "json")
    )
    logging.getLogger("uvicorn").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app, log_level="critical", lifespan="on", ws="none", timeout_graceful_shutdown=1
    )
    http = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.serve, [listening])
            try:
                with anyio.fail_after(PROCESS_SECONDS):
                    while not http.started:
                        await anyio.sleep(0.01)
                yield f"http://127.0.0.1:{port}/{'sse' if way == 'sse' else 'mcp'}"
            finally:
                http.should_exit = True


if __name__ == "__main__":
    official().run()

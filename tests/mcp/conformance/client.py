"""Our client as the conformance suite wants it: a command that is given the address of a server.

It lists the tools and calls each; only what a scenario prescribes is scenario-specific. The suite
tells by variables which scenario and revision it plays.
"""

import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup

from actors.mcp_pool.adapters.authorization import Authorization
from actors.mcp_pool.adapters.grant_files import MemoryGrant
from actors.mcp_pool.adapters.lanes import Lanes
from actors.mcp_pool.adapters.login import LoginMeans, log_in
from actors.mcp_pool.core.upstream import CallPlan, ServerAddress, Upstream, UpstreamError
from actors.mcp_pool.flow.authorizing import Authorizer, TokenMeans
from bus.http import HttpClient
from bus.jetstream.bus import system_clock
from bus.security.egress import Egress
from bus.tasks import loop_time
from schemas.tool_servers import ServerOauth
from schemas.tools import ServerTool

SECONDS = 15.0
FOCAL, ECHO = "json_schema_2020_12_tool", "json_schema_echo"
SAMPLES: dict[str, Any] = {"string": "x", "integer": 1, "number": 1.5, "boolean": True}


def main() -> None:
    """Play the scenario that the variables tell of, against the server of the last argument."""
    anyio.run(_play, sys.argv[-1])


async def _play(url: str) -> None:
    version = os.environ.get("MCP_CONFORMANCE_PROTOCOL_VERSION", "")
    era = "2025" if version < "2026" else "2026"
    async with (
        HttpClient(Egress(allow_loopback=True)) as client,
        anyio.create_task_group() as tasks,
    ):
        bearer = _bearer(url, client, tasks)
        address = ServerAddress("suite", "http", url=url, era=era, bearer=bearer)
        upstream = Lanes(tasks, client, person=_accepting, offers={"elicitation": {}})(address)
        try:
            await upstream.open(loop_time() + SECONDS)
            tasks.start_soon(upstream.listen, _ignore)
            # Questions may come over the stream that this opens; no message says that it is open.
            await anyio.sleep(0.3)
            tools = (await upstream.list_tools(loop_time() + SECONDS)).items
            for name, arguments in _calls(tools):
                await _call(upstream, name, arguments)
        finally:
            await upstream.close()
        tasks.cancel_scope.cancel()


def _bearer(url: str, client: HttpClient, tasks: TaskGroup) -> Authorizer:
    """Return who gets tokens, with a person who logs in at once."""
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    is_known = "client_secret" in context
    terms = ServerOauth(
        client_id=context.get("client_id"),
        secret="suite" if is_known else None,
        client_metadata="https://conformance-test.local/client-metadata.json",
    )
    authorization = Authorization(lambda _: client)

    def secret(_: str) -> str:
        return context["client_secret"]

    def clock() -> float:
        return system_clock().timestamp()

    async def visit(place: str) -> None:
        for _ in range(2):
            async with client.exchange("GET", place) as answer:
                place = answer.headers.get("location")

    means = LoginMeans(authorization, secret, clock, visit)
    login = partial(log_in, terms, means)
    keep = MemoryGrant()
    return Authorizer(
        "suite", url, terms, TokenMeans(authorization, keep, secret, clock, tasks, login)
    )


def _calls(tools: list[ServerTool]) -> list[tuple[str, dict[str, Any]]]:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    if "toolCalls" in context:
        return [(call["name"], call["arguments"]) for call in context["toolCalls"]]
    schemas = {tool.tool: tool.parameters for tool in tools}
    if ECHO in schemas:
        return [(ECHO, {"schema": schemas[FOCAL]})]
    return [(name, _sample(schema)) for name, schema in schemas.items()]


def _sample(schema: dict[str, Any]) -> dict[str, Any]:
    return {
        name: SAMPLES.get(each.get("type", ""), {})
        for name, each in schema.get("properties", {}).items()
    }


async def _call(upstream: Upstream, name: str, arguments: dict[str, Any]) -> None:
    try:
        await upstream.call(CallPlan(name, arguments, loop_time() + SECONDS))
    except UpstreamError as error:
        sys.stderr.write(f"{name}: {error.outcome} {error}\n")


def _ignore(kind: str) -> None:
    del kind


def _accepting(method: str, params: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Accept what a person would be asked, with the defaults of its fields (SEP-1034)."""
    if method != "elicitation/create":
        return None
    fields = params.get("requestedSchema", {}).get("properties", {})
    content = {name: field["default"] for name, field in fields.items() if "default" in field}
    return {"action": "accept", "content": content}


if __name__ == "__main__":
    main()

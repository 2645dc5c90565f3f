"""The face with the tools that the conformance suite's server scenarios call.

    python -m tests.mcp.conformance.fixtures

serves until a signal and tells its URL on standard error.
"""

import sys
from collections.abc import Mapping
from typing import Any

import anyio
import mcp_types as types

from actors.cli.mcp_face.changes import ListChanges
from actors.cli.mcp_face.offers import failure
from actors.cli.mcp_face.progress import Notice
from actors.cli.mcp_face.running import Tell
from actors.cli.mcp_face.server import server_of
from actors.cli.mcp_face.serving import serve_http
from actors.cli.mcp_face.shelves import Contents
from schemas.problems import Problem
from schemas.tool_servers import ListedKind

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAA"
    "AABJRU5ErkJggg=="
)
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAAAAA=="

TEXT = types.TextContent(text="A text of the face.")
IMAGE = types.ImageContent(data=PNG, mime_type="image/png")
AUDIO = types.AudioContent(data=WAV, mime_type="audio/wav")
RESOURCE = types.EmbeddedResource(
    resource=types.TextResourceContents(
        uri="test://embedded-resource", mime_type="text/plain", text="The text of a resource."
    )
)

CONTENTS: Mapping[str, list[types.ContentBlock]] = {
    "test_simple_text": [TEXT],
    "test_image_content": [IMAGE],
    "test_audio_content": [AUDIO],
    "test_embedded_resource": [RESOURCE],
    "test_multiple_content_types": [TEXT, IMAGE, RESOURCE],
    "test_tool_with_progress": [TEXT],
    "test_error_handling": [],
    # While these run, the suite looks for requests and logs that nobody asked for.
    "test_streaming_elicitation": [TEXT],
    "test_logging_tool": [TEXT],
    "test_tool_with_logging": [TEXT],
}

BYTES = types.BlobResourceContents(uri="test://static-binary", blob=PNG, mime_type="image/png")
STATIC = types.TextResourceContents(
    uri="test://static-text", text="A text that stands.", mime_type="text/plain"
)
ARGUMENTS = {
    "test_simple_prompt": (),
    "test_prompt_with_arguments": ("arg1", "arg2"),
    "test_prompt_with_embedded_resource": ("resourceUri",),
    "test_prompt_with_image": (),
}


CHANGES = ListChanges()
TRIGGERS: Mapping[str, ListedKind] = {
    "test_trigger_tool_change": "tools",
    "test_trigger_prompt_change": "prompts",
}


class Fixtures:
    """Offers them in one page."""

    async def page(self, cursor: str) -> tuple[list[types.Tool], str | None]:
        del cursor
        tools = [
            types.Tool(
                name=name,
                description=f"Answers {len(content)} contents.",
                input_schema={"type": "object"},
            )
            for name, content in CONTENTS.items()
        ]
        return tools, None

    async def call(
        self, name: str, arguments: dict[str, Any], tell: Tell
    ) -> types.CallToolResult | None:
        del arguments
        if name in TRIGGERS:
            await CHANGES.changed(TRIGGERS[name])
            return types.CallToolResult(content=[TEXT])
        if name == "test_error_handling":
            return failure(Problem(code="provider_error", message="it fails on purpose"))
        if name in {"test_tool_with_progress", "test_streaming_elicitation"}:
            for number in (1, 2, 3):
                await tell(Notice(number, f"step {number}"))
                await anyio.sleep(0.05)
        if name in {"test_tool_with_logging", "test_logging_tool"}:
            for number in (1, 2, 3):
                await tell(Notice(number, f"log {number}", "info"))
        return types.CallToolResult(content=CONTENTS[name]) if name in CONTENTS else None


class Shelf:
    """Offers the resources and prompts of the scenarios."""

    async def resources(self) -> list[types.Resource]:
        return [types.Resource(uri=each.uri, name=each.uri) for each in (STATIC, BYTES)]

    async def templates(self) -> list[types.ResourceTemplate]:
        return [types.ResourceTemplate(uri_template="test://template/{id}/data", name="data")]

    async def read(self, uri: str) -> Contents | None:
        if uri.startswith("test://template/"):
            text = f"of {uri.split('/')[3]}"
            return [types.TextResourceContents(uri=uri, text=text, mime_type="text/plain")]
        return [each for each in (STATIC, BYTES) if each.uri == uri] or None

    async def prompts(self) -> list[types.Prompt]:
        return [
            types.Prompt(
                name=name,
                description=f"Takes {len(arguments)} arguments.",
                arguments=[types.PromptArgument(name=each, required=True) for each in arguments],
            )
            for name, arguments in ARGUMENTS.items()
        ]

    async def prompt(self, name: str, arguments: dict[str, str]) -> types.GetPromptResult | None:
        if name not in ARGUMENTS:
            return None
        said: list[types.ContentBlock] = [types.TextContent(text=f"With {arguments}.")]
        if name.endswith("image"):
            said.append(IMAGE)
        if name.endswith("resource"):
            held = types.TextResourceContents(uri=arguments["resourceUri"], text="held")
            said.append(types.EmbeddedResource(resource=held))
        return types.GetPromptResult(
            messages=[types.PromptMessage(role="user", content=each) for each in said]
        )

    async def complete(self, wanted: types.CompleteRequestParams) -> types.Completion | None:
        return types.Completion(values=[f"{wanted.argument.value}ed"], total=1)


def _told(url: str) -> None:
    sys.stderr.write(f"{url}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    anyio.run(serve_http, server_of([Fixtures()], Shelf(), changes=CHANGES), 0, _told)

"""Tools, resources and prompts of MCP servers as the protocol tells them on. Pure."""

from collections.abc import Sequence

import mcp_types as types

from actors.cli.mcp_face import offers
from schemas.problems import Problem
from schemas.tool_servers import FilledTurn, ServerPrompt, ServerResource, ServerTemplate
from schemas.tools import ServerTool, ToolContent, ToolMedia, ToolResource, ToolResult, ToolText

BETWEEN = "__"
"""Stands between the names of a server and of what it offers."""

SCHEME = "callboard:///"
"""Begins a URI that names a server before its resource: two servers may have the same one.

There is no authority in it, which clients would write in small letters.
"""


def named(server: str, name: str) -> str:
    """Return the name under which something of a server is offered."""
    return f"{server}{BETWEEN}{name}"


def splits(name: str) -> list[tuple[str, str]]:
    """Return which server and name a name may mean: both may hold what stands between them."""
    size = len(BETWEEN)
    places = range(1, len(name) - size)
    return [(name[:n], name[n + size :]) for n in places if name.startswith(BETWEEN, n)]


def uri_of(server: str, uri: str) -> str:
    """Return the URI under which a resource of a server is offered."""
    return f"{SCHEME}{server}/{uri}"


def resource_of(uri: str) -> tuple[str, str] | None:
    """Return the server and its own URI of a resource, None where it is none of ours."""
    server, _, own = uri.removeprefix(SCHEME).partition("/")
    return (server, own) if uri.startswith(SCHEME) and server and own else None


def tool(found: ServerTool) -> types.Tool:
    """Describe a tool. Revisions up to 2025-11-25 know objects alone as outputs."""
    output = found.output if (found.output or {}).get("type") == "object" else None
    hints = found.hints
    return types.Tool(
        name=named(found.server, found.tool),
        title=found.title or None,
        description=found.description or None,
        input_schema=found.parameters,
        output_schema=output,
        annotations=types.ToolAnnotations(
            read_only_hint=hints.read_only,
            destructive_hint=hints.destructive,
            idempotent_hint=hints.idempotent,
            open_world_hint=hints.open_world,
        ),
    )


def result(found: ToolResult, of: ServerTool, execution_id: str) -> types.CallToolResult:
    """Return what a call of a tool has brought, with the JSON object that it has promised."""
    promised = tool(of).output_schema is not None
    if promised and found.structured is None and not found.is_error:
        told = f"the result of {found.bytes} bytes is too large to be told whole"
        return offers.failure(Problem(code="validation", message=told), execution_id)
    return types.CallToolResult(
        content=[content(each, of.server) for each in found.content],
        structured_content=found.structured if promised else None,
        is_error=found.is_error,
        _meta={offers.EXECUTION: execution_id},
    )


def content(found: ToolContent, server: str) -> types.ContentBlock:
    """Return a piece of a server's content. What is stored apart is named, not sent."""
    match found:
        case ToolText(text=text):
            return types.TextContent(text=text)
        case ToolMedia(media_type=kind, data=data) if data and kind.startswith("audio/"):
            return types.AudioContent(data=data, mime_type=kind)
        case ToolMedia(media_type=kind, data=data) if data and kind.startswith("image/"):
            return types.ImageContent(data=data, mime_type=kind)
        case ToolMedia(media_type=kind):
            return types.TextContent(text=f"[{kind}, which is not told here]")
        case ToolResource(text="", uri=uri):
            where = uri_of(server, uri)
            return types.ResourceLink(uri=where, name=uri, mime_type=found.media_type or None)
        case ToolResource(uri=uri):
            return types.EmbeddedResource(resource=_text(found, uri_of(server, uri)))


def resource(found: ServerResource) -> types.Resource:
    """Describe a resource."""
    return types.Resource(
        uri=uri_of(found.server, found.uri),
        name=found.name or found.uri,
        description=found.description or None,
        mime_type=found.media_type or None,
    )


def template(found: ServerTemplate) -> types.ResourceTemplate:
    """Describe a template; what it expands to is a URI of ours."""
    return types.ResourceTemplate(
        uri_template=uri_of(found.server, found.template),
        name=found.name or found.template,
        description=found.description or None,
        mime_type=found.media_type or None,
    )


def contents(
    found: Sequence[ToolContent], uri: str
) -> list[types.TextResourceContents | types.BlobResourceContents]:
    """Return what a resource holds, under the URI by which it was asked for."""
    told: list[types.TextResourceContents | types.BlobResourceContents] = []
    has_bytes = any(isinstance(each, ToolMedia) for each in found)
    for each in found:
        match each:
            case ToolText(text=text):
                told.append(types.TextResourceContents(uri=uri, text=text))
            case ToolMedia(data=data, media_type=kind):
                told.append(types.BlobResourceContents(uri=uri, blob=data, mime_type=kind))
            case ToolResource(text="") if has_bytes:
                # It names what stands beside it.
                continue
            case ToolResource():
                told.append(_text(each, uri))
    return told


def prompt(found: ServerPrompt) -> types.Prompt:
    """Describe a prompt."""
    return types.Prompt(
        name=named(found.server, found.name),
        description=found.description or None,
        arguments=[
            types.PromptArgument(
                name=each.name, description=each.description or None, required=each.required
            )
            for each in found.parameters
        ],
    )


def message(found: FilledTurn, server: str) -> types.PromptMessage:
    """Return a message of a prompt; a role that the protocol does not know is the user."""
    role = "assistant" if found.role == "assistant" else "user"
    return types.PromptMessage(role=role, content=content(found.content, server))


def _text(found: ToolResource, uri: str) -> types.TextResourceContents:
    return types.TextResourceContents(uri=uri, text=found.text, mime_type=found.media_type or None)

"""The example server that looks things up in a file, asked as a client of the protocol asks."""

import importlib.util
from typing import Any

import pytest
from mcp.client import Client
from mcp_types import CallToolResult, TextContent

from tests.architecture.tree import ROOT

PROGRAM = ROOT / "deploy" / "examples" / "lookup" / "server.py"

BOOK = """\
# Lamps

Everything about light.

## Broken bulbs

Turn the lamp off. A spare bulb lies in the drawer.

## Returns of a lamp

Sent back within a month.
"""


def _server() -> Any:
    spec = importlib.util.spec_from_file_location("lookup_server", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.server(BOOK)


async def _found(words: str) -> CallToolResult:
    async with Client(_server()) as client:
        return await client.call_tool("find_section", {"words": words})


@pytest.mark.parametrize(
    ("words", "title"),
    [
        ("spare drawer", "Broken bulbs"),
        ("the BULB and returns", "Returns of a lamp"),
        ("lamps", "Lamps"),
    ],
)
async def test_the_section_is_found_that_fits_best_by_its_heading_before_its_text(
    words: str, title: str
):
    result = await _found(words)

    assert result.structured_content is not None
    assert result.structured_content["title"] == title
    assert "#" not in result.structured_content["text"]


async def test_what_stands_nowhere_is_an_error_that_a_model_can_read():
    result = await _found("of a zebra")

    assert result.is_error
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert "No section holds any word of 'of a zebra'" in content.text


async def test_the_tool_says_that_it_only_reads_and_what_it_takes():
    async with Client(_server()) as client:
        (tool,) = (await client.list_tools()).tools

    assert tool.annotations is not None
    assert tool.annotations.read_only_hint
    assert tool.input_schema["properties"]["words"]["maxLength"] == 60

"""MCP's frames, headers, contents, lists and faults, against any bytes and the SDK as an oracle."""

import base64
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared import inbound

from actors.mcp_pool.core import wire, wire_content, wire_faults, wire_lists
from actors.mcp_pool.core.wire_headers import (
    InvalidMarkError,
    encoded,
    marks,
    parameters,
    routing,
)
from actors.mcp_pool.core.wire_hearing import MAX_UNASKED, FloodError, Heard, Hearing
from actors.mcp_pool.core.wire_questions import interim
from schemas.tools import ToolMedia, ToolResource, ToolText

TEXTS = st.text(max_size=40)
SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4)
)


def raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(value))


# Frames


@given(JSON)
def test_any_json_is_read_as_frames_or_refused(value: Any):
    try:
        found = wire.frames(msgspec.json.encode(value))
    except wire.MalformedFrameError:
        return
    assert all(isinstance(each, wire.RpcFrame) for each in found)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_as_frames_or_refused(data: bytes):
    with suppress(wire.MalformedFrameError):
        assert wire.frames(data)


@pytest.mark.parametrize("depth", [70, 5000])
def test_a_frame_that_is_nested_too_deep_is_refused(depth: int):
    deep = b'{"id":1,"result":{"structuredContent":%s}}' % (b"[" * depth + b"]" * depth)
    with pytest.raises(wire.MalformedFrameError):
        wire.frames(deep)


def test_a_batch_is_read_frame_by_frame():
    found = wire.frames(b' [{"id":1,"result":{}},{"method":"m"}]')
    assert [each.is_answer for each in found] == [True, False]


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=8))
def test_lines_are_the_same_however_they_are_cut(sent: list[bytes]):
    data = b"".join(line + b"\n" for line in sent)
    whole = list(wire.FrameLines().feed(data))
    lines = wire.FrameLines()
    assert [line for at in range(len(data)) for line in lines.feed(data[at : at + 1])] == whole
    assert whole == [line.strip() for line in sent if line.strip()]


def test_a_line_beyond_the_bound_is_skipped_and_tells_whose_it_was():
    lines = wire.FrameLines(limit=100)
    head = b'{"jsonrpc":"2.0","id":42,"result":"'
    found = [line for _ in range(1) for line in lines.feed(head)]
    for _ in range(50):
        found += lines.feed(b"x" * 50)
        assert len(lines._partial) <= 150
    found += lines.feed(b'"}\n{"id":43}\n')
    assert isinstance(found[0], wire.Oversize)
    assert found[0].number == 42
    assert found[1:] == [b'{"id":43}']


# Headers


@given(st.text(max_size=30))
def test_a_header_says_what_was_said_to_whoever_decodes_it(text: str):
    try:
        text.encode()
    except UnicodeEncodeError:
        return
    value = encoded(text)
    assert inbound.decode_header_value(value) == text
    assert value.isascii()
    assert value.isprintable()


MARKED = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "boolean", "number", ["string"]])},
    optional={"x-mcp-header": st.sampled_from(["Region", "region", "a b", "", "X", 7, None, "ä"])},
)
SCHEMAS = st.recursive(
    MARKED,
    lambda inner: st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
            "items": inner,
            "anyOf": st.lists(inner, max_size=2),
            "$defs": st.dictionaries(st.sampled_from("de"), inner, max_size=2),
            "default": inner,
        },
    ),
    max_leaves=6,
)


@given(SCHEMAS, st.dictionaries(st.sampled_from("abc"), SCALARS, max_size=3))
def test_marks_are_taken_and_refused_as_the_sdk_does(schema: Any, arguments: dict[str, Any]):
    try:
        found = marks(schema)
    except InvalidMarkError:
        assert inbound.find_invalid_x_mcp_header(schema) is not None
        return
    assert inbound.find_invalid_x_mcp_header(schema) is None
    assert found == inbound.x_mcp_header_map(schema)
    assert parameters(found, arguments) == inbound.mcp_param_headers(found, arguments)


def test_a_request_is_named_in_its_headers():
    assert routing("tools/call", {"name": "é"}) == {
        "Mcp-Method": "tools/call",
        "Mcp-Name": "=?base64?w6k=?=",
    }
    assert routing("ping", {}) == {"Mcp-Method": "ping"}


# Contents


@given(st.lists(TEXTS, max_size=6), st.integers(0, 60))
def test_a_result_keeps_no_more_than_it_may_and_says_so(texts: list[str], most: int):
    blocks = [{"type": "text", "text": text} for text in texts]
    found = wire_content.tool_result(raw({"content": blocks}), most)
    kept = [each.text for each in found.content if isinstance(each, ToolText)]
    size = sum(len(text.encode()) for text in texts)
    assert sum(len(text.encode()) for text in kept) <= most
    assert found.bytes == size
    assert found.truncated == (size > most)
    assert "".join(texts).startswith("".join(kept))


@given(JSON)
def test_any_result_is_read_or_refused(value: Any):
    try:
        wire_content.tool_result(raw(value), 1000)
        wire_content.resource(raw(value), 1000)
        wire_content.prompt(raw(value), 1000)
        interim(raw(value))
    except wire.MalformedFrameError:
        return


def test_every_kind_of_content_is_kept():
    data = base64.b64encode(b"png").decode()
    blocks = [
        {"type": "image", "data": data, "mimeType": "image/png"},
        {"type": "resource_link", "uri": "file:///a", "name": "a"},
        {"type": "resource", "resource": {"uri": "b:/c", "text": "held", "mimeType": "t/p"}},
        {"type": "resource", "resource": {"uri": "b:/d", "blob": data}},
        {"type": "hologram", "text": "?"},
    ]
    found = wire_content.tool_result(raw({"content": blocks, "structuredContent": [1]}), 1000)
    assert found.content == [
        ToolMedia(media_type="image/png", data=data),
        ToolResource(uri="file:///a"),
        ToolResource(uri="b:/c", media_type="t/p", text="held"),
        ToolResource(uri="b:/d"),
        ToolMedia(media_type="application/octet-stream", data=data),
        ToolText(text="[content of the kind hologram, which is not read]"),
    ]
    assert found.structured == [1]


def test_media_that_are_not_in_base64_are_refused():
    with pytest.raises(wire.MalformedFrameError):
        wire_content.tool_result(raw({"content": [{"type": "image", "data": "%%%"}]}), 100)


# Lists


def tools(*items: Any, marked: bool = False) -> wire_lists.Pages:
    pages = wire_lists.Pages("tools", lambda each: wire_lists.tool("s", each, marked=marked))
    assert pages.add(raw({"tools": list(items), "ttlMs": 1500})) is None
    return pages


def offered(pages: wire_lists.Pages) -> list[str]:
    return [each.tool for each in pages.listing(lambda each: each.tool).items]


@pytest.mark.parametrize(
    "name", ["", " ", "a\x1b[2J", "a\nb", "x" * 129, "\u202egnp", "a\u2066b", "\x00"]
)
def test_a_tool_whose_name_could_deceive_is_left_out_with_the_reason(name: str):
    pages = tools({"name": name}, {"name": "honest"})
    assert offered(pages) == ["honest"]
    (reason,) = pages.listing(lambda each: each.tool).dropped
    assert reason.isprintable()


def test_a_description_is_escaped_and_cut():
    (found,) = tools({"name": "t", "description": "\x1b]52;c;x\x07" + "y" * 20_000}).values
    assert found.tool.description.startswith("\\u001b]52;c;x\\u0007y")
    assert len(found.tool.description) < 17_000


def test_items_that_are_no_tools_cost_only_themselves():
    bomb = {"type": "object", "description": "x" * wire_lists.MAX_SCHEMA_BYTES}
    wrong = [
        7,
        None,
        {"name": 3},
        {"name": "n", "inputSchema": True},
        {"name": "b", "inputSchema": bomb},
    ]
    pages = tools(*wrong, {"name": "twice"}, {"name": "twice"}, {"name": "last"})
    assert offered(pages) == ["twice", "last"]
    assert len(pages.listing(lambda each: each.tool).dropped) == 6


def test_a_tool_with_a_wrong_mark_is_left_out_where_marks_are_known():
    wrong = {
        "name": "t",
        "inputSchema": {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
    }
    assert offered(tools(wrong, marked=True)) == []
    assert offered(tools(wrong)) == ["t"]


def test_a_list_without_an_end_is_refused():
    pages = wire_lists.Pages("tools", lambda each: wire_lists.tool("s", each, marked=False))
    assert pages.add(raw({"tools": [], "nextCursor": "a"})) == "a"
    with pytest.raises(wire.MalformedFrameError):
        pages.add(raw({"tools": [], "nextCursor": "a"}))


def test_the_digest_changes_with_the_list_and_only_with_it():
    one, same, other = (
        tools({"name": "t", "description": words}).listing(lambda each: each.tool)
        for words in ("a", "a", "b")
    )
    assert one.digest == same.digest != other.digest
    assert one.ttl == 1.5


@given(JSON)
def test_any_page_is_read_or_refused(value: Any):
    for kind, read in (("resources", wire_lists.resource), ("prompts", wire_lists.prompt)):
        try:
            wire_lists.Pages(kind, read).add(raw({kind: [value], "ttlMs": value}))
            wire_lists.Pages(kind, read).add(raw(value))
        except wire.MalformedFrameError:
            continue


# Faults


def error(code: int, message: str = "") -> wire.RpcError:
    return wire.RpcError(code=code, message=message)


@pytest.mark.parametrize(
    ("status", "found"),
    [
        (404, None),
        (400, None),
        (400, error(-32000, "Bad Request: No valid session ID provided")),
        (400, error(-32000, "Bad Request: Server not initialized")),
        (503, None),
        (404, error(-32001, "Session not found")),
        (400, error(-32600, "Invalid Request")),
        (410, None),
    ],
)
def test_a_lost_session_is_known_in_every_spelling(status: int, found: wire.RpcError | None):
    fault = wire_faults.of_status(wire_faults.HttpRefusal(status, found), in_session=True)
    assert (fault.outcome, fault.session_lost) == ("rejected", True)
    without = wire_faults.of_status(wire_faults.HttpRefusal(status, found), in_session=False)
    assert not without.session_lost


@pytest.mark.parametrize(
    ("found", "outcome", "lost"),
    [
        (error(-32001, "Session not found"), "rejected", True),
        (error(-32001, "Request timed out"), "protocol_error", False),
        (error(-32600, "Session terminated"), "rejected", True),
        (error(-32602, "session id missing in arguments"), "protocol_error", False),
        (error(-32603, "boom"), "protocol_error", False),
        (error(-32601, "no such method"), "rejected", False),
    ],
)
def test_an_answer_that_is_an_error_says_whether_the_server_had_begun(
    found: wire.RpcError, outcome: str, lost: bool
):
    fault = wire_faults.of_error(found, in_session=True)
    assert (fault.outcome, fault.session_lost) == (outcome, lost)
    assert fault.sent == (outcome != "rejected")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (500, "outcome_unknown"),
        (502, "outcome_unknown"),
        (429, "rejected"),
        (302, "rejected"),
        (401, "rejected"),
    ],
)
def test_a_status_says_whether_the_server_had_begun(status: int, outcome: str):
    fault = wire_faults.of_status(wire_faults.HttpRefusal(status, None, 3.0), in_session=True)
    assert (fault.outcome, fault.session_lost, fault.retry_after) == (outcome, False, 3.0)


def test_an_overloaded_server_has_not_lost_the_session():
    fault = wire_faults.of_status(wire_faults.HttpRefusal(503, None, 5.0), in_session=True)
    assert (fault.session_lost, fault.retry_after) == (False, 5.0)


# What is said besides


def notice(method: str, **params: Any) -> wire.RpcFrame:
    return wire.frames(wire.notification(method, params))[0]


def test_progress_is_told_to_its_own_request_alone():
    told: list[Any] = []
    hearing = Hearing()
    hearing.under_way = {1: Heard(lambda *each: told.append(each)), 2: Heard()}
    hearing.take(notice("notifications/progress", progressToken=1, progress=0.5, message="a\x07"))
    hearing.take(notice("notifications/progress", progressToken=9, progress=1))
    hearing.take(notice("notifications/progress", progressToken=1, progress=1), 2)
    hearing.take(notice("notifications/progress", progressToken="x", progress="y"))
    assert told == [(0.5, None, "a\\u0007")]


def test_a_server_that_does_not_come_to_its_answer_is_stopped():
    hearing = Hearing()
    hearing.under_way = {1: Heard()}
    said = notice("notifications/progress", progressToken=1, progress=1)
    for _ in range(MAX_UNASKED):
        hearing.take(said, 1)
    with pytest.raises(FloodError):
        hearing.take(said, 1)


def test_questions_are_answered_or_refused():
    hearing = Hearing()
    asked = wire.frames(b'{"id":"q","method":"elicitation/create","params":{}}')[0]
    assert b'"action":"cancel"' in (hearing.take(asked) or b"")
    asked = wire.frames(b'{"id":5,"method":"sampling/createMessage","params":{}}')[0]
    assert b"-32601" in (hearing.take(asked) or b"")

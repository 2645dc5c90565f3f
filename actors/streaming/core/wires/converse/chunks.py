"""What is read of ConverseStream's events: only the needed fields.

Nova speaks the same through InvokeModel, there with each event under its name.
"""

from typing import Any

import msgspec

from actors.streaming.core.decoding.surrogates import EventDecoder


class ReasoningPart(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """A piece of reasoning, its signature, or what is hidden of it."""

    text: str | None = None
    signature: str | None = None
    redacted_content: bytes | None = None


class ToolInput(msgspec.Struct, frozen=True, gc=False):
    """A piece of a call's arguments. Nova's may be an object, whole."""

    input: str | dict[str, Any] | list[Any] | None = None


class BlockDelta(msgspec.Struct, frozen=True, rename="camel"):
    """What a content block grows by."""

    text: str | None = None
    tool_use: ToolInput | None = None
    reasoning_content: ReasoningPart | None = None


class ToolStart(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The beginning of a tool call. Its ``type`` tells the caller's tools from the server's.

    Servers in between may tell the arguments here already, whole.
    """

    tool_use_id: str | None = None
    name: str | None = None
    type: str | None = None
    input: Any = None


class BlockStart(msgspec.Struct, frozen=True, rename="camel"):
    """The beginning of a content block; texts begin without one."""

    tool_use: ToolStart | None = None


class PromptRouter(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """Which model a router chose."""

    invoked_model_id: str | None = None


class Trace(msgspec.Struct, frozen=True, rename="camel"):
    """What happened on the way, of guardrails and routers."""

    prompt_router: PromptRouter | None = None


class Body(msgspec.Struct, frozen=True, rename="camel"):
    """The fields of all kinds of events together: each kind has some."""

    content_block_index: int | float | str | None = None
    start: BlockStart | None = None
    delta: BlockDelta | None = None
    stop_reason: str | None = None
    usage: Any = None
    trace: Trace | None = None
    service_tier: Any = None
    error: Any = None
    base_resp: Any = msgspec.field(name="base_resp", default=None)


decode = EventDecoder(Body).decode
"""Reads the body of one event; raises msgspec.DecodeError."""

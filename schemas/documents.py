"""The contract as documents for other tools: JSON Schema and AsyncAPI, from the catalog. Pure."""

import re
from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any

import msgspec

from schemas import catalog
from schemas.base import Request
from schemas.catalog import FactRow, RequestRow
from schemas.problems import HTTP_STATUS, Problem

Document = dict[str, Any]

JSON_SCHEMA = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI = "3.0.0"

ACTION = "x-callboard-action"
"""The extension of an operation that names what whoever asks must be allowed to do."""

_VARIABLE = re.compile(r"\{(\w+)\}")

_PARAMETERS = {
    "tenant": "The tenant; `local` on a laptop.",
    "execution_id": "The id of the execution.",
    "agent_id": "The id of the agent.",
    "id": "The id of the command.",
    "account": "The id of the budget.",
    "instance_id": "The id of the instance of a workflow.",
    "turn": "The number of the turn.",
    "workflow_id": "The id of the workflow.",
    "server": "The name of the MCP server.",
}

_TRACE_HEADERS: Document = {
    "type": "object",
    "properties": {
        "traceparent": {"type": "string", "description": "W3C Trace Context; optional."}
    },
}

_PROBLEM_HEADERS: Document = {
    "type": "object",
    "properties": {
        "Nats-Service-Error": {"type": "string", "description": "The problem's message."},
        "Nats-Service-Error-Code": {
            "type": "string",
            "enum": sorted({str(status) for status in HTTP_STATUS.values()}),
            "description": "The HTTP status nearest to the problem's code.",
        },
    },
}


def json_schema() -> Document:
    """Return one JSON Schema document (draft 2020-12) that defines every public message."""
    return {
        "$schema": JSON_SCHEMA,
        "$id": f"urn:callboard:messages:{catalog.CONTRACT_VERSION}",
        "title": "Callboard messages",
        "description": "Every message of the public contract, by class name.",
        "$defs": _definitions("#/$defs/{name}"),
    }


def asyncapi() -> Document:
    """Return the AsyncAPI 3 document: what can be asked, and what is published."""
    return {
        "asyncapi": ASYNCAPI,
        "info": {
            "title": "Callboard",
            "version": catalog.CONTRACT_VERSION,
            "description": "LLM agents as actors on NATS. Any NATS client can take part.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"local": {"host": "127.0.0.1:4222", "protocol": "nats"}},
        "channels": _channels(),
        "operations": _operations(),
        "components": {
            "messages": _messages(),
            "schemas": _definitions("#/components/schemas/{name}"),
        },
    }


def subjects_table() -> str:
    """Return every public subject with what it is for, as Markdown."""
    rows = [
        ("subject", "kind", "what it is for", "needs"),
        ("---", "---", "---", "---"),
        *(
            (_written(row.subject), _kind(row), row.doc, f"`{row.action}`")
            for row in catalog.requests()
        ),
        *((subject, "stream", doc, "") for subject, doc in _stream_rows()),
        *((_written(row.subject), "event", row.doc, "") for row in catalog.events()),
        *((_written(row.subject), "record", row.doc, "") for row in catalog.records()),
    ]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _written(subject: str) -> str:
    readable = _VARIABLE.sub(r"<\1>", subject)
    return f"`{readable}`"


def _kind(row: RequestRow) -> str:
    return "command" if row.submit else "question"


def _stream_rows() -> Iterable[tuple[str, str]]:
    """One row for all events of a stream, because they share a subject."""
    types: dict[str, list[str]] = {}
    for row in catalog.stream_events():
        types.setdefault(_written(row.subject), []).append(f"`{row.name}`")
    return ((subject, f"Live events: {', '.join(names)}.") for subject, names in types.items())


def _definitions(reference: str) -> Document:
    """Return the schema of every message by name, with docstrings as every Python gives them.

    Python 3.13 takes the indentation off a docstring when it compiles it; earlier ones keep it.
    """
    _, components = msgspec.json.schema_components(catalog.messages(), ref_template=reference)
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    return dict(sorted(components.items()))


# Channels


def _channels() -> Document:
    channels: Document = {}
    for row in catalog.requests():
        channels |= _request_channels(row)
    channels["stream"] = _channel(
        catalog.STREAM_EVENTS[0].SUBJECT,
        "Live events of one execution, ordered by (segment, sequence).",
        (row.message for row in catalog.stream_events()),
    )
    for row in (*catalog.events(), *catalog.records()):
        channels[_key(row.name)] = _channel(row.subject, row.doc, [row.message])
    return channels


def _request_channels(row: RequestRow) -> Document:
    key = _key(row.name)
    channels = {
        key: _channel(row.subject, row.doc, [row.message]),
        f"{key}-reply": _channel(None, "The reply subject of the request.", [row.reply, Problem]),
    }
    if row.submit is not None:
        doc = f"{row.doc} Durable: the acknowledgement of JetStream is the receipt."
        channels[f"submit-{key}"] = _channel(row.submit, doc, [row.message])
    return channels


def _channel(address: str | None, doc: str, messages: Iterable[type[msgspec.Struct]]) -> Document:
    references = {m.__name__: {"$ref": f"#/components/messages/{m.__name__}"} for m in messages}
    channel: Document = {"address": address, "description": doc, "messages": references}
    names = _VARIABLE.findall(address or "")
    if names:
        channel["parameters"] = {name: {"description": _PARAMETERS[name]} for name in names}
    return channel


# Operations, from where Callboard stands: it receives requests and sends facts


def _operations() -> Document:
    operations: Document = {}
    for row in catalog.requests():
        operations |= _request_operations(row)
    operations["send-stream"] = _operation("send", "stream", "Publish what an execution does.")
    for row in (*catalog.events(), *catalog.records()):
        operations[f"send-{_key(row.name)}"] = _fact_operation(row)
    return operations


def _request_operations(row: RequestRow) -> Document:
    key = _key(row.name)
    reply, needs = {"channel": {"$ref": f"#/channels/{key}-reply"}}, {ACTION: row.action}
    operations = {key: _operation("receive", key, row.doc) | {"reply": reply} | needs}
    if row.submit is not None:
        operations[f"submit-{key}"] = _operation("receive", f"submit-{key}", row.doc) | needs
    return operations


def _fact_operation(row: FactRow) -> Document:
    return _operation("send", _key(row.name), row.doc)


def _operation(action: str, channel: str, summary: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "summary": summary,
    }


# Messages


def _messages() -> Document:
    return {kind.__name__: _message(kind) for kind in catalog.messages()}


def _message(kind: type[msgspec.Struct]) -> Document:
    message: Document = {
        "name": catalog.tag_of(kind) or kind.__name__,
        "title": kind.__name__,
        "summary": catalog.first_line(kind),
        "payload": {"$ref": f"#/components/schemas/{kind.__name__}"},
    }
    headers = _headers(kind)
    return {**message, "headers": headers} if headers else message


def _headers(kind: type[msgspec.Struct]) -> Mapping[str, Any] | None:
    if issubclass(kind, Request):
        return _TRACE_HEADERS
    return _PROBLEM_HEADERS if kind is Problem else None


def _key(name: str) -> str:
    """Return the key of a channel or operation: its name with dashes for dots."""
    return name.replace(".", "-")

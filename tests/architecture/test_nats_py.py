"""The private members of nats-py that the bus relies on are there, and are all listed here.

A release that renames one fails this test, and not a fleet at a customer's; `pyproject.toml` keeps
releases out that were never tried.
"""

import ast
import inspect
import re
import tomllib
from importlib.metadata import version

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.micro.request import Request
from nats.micro.service import Endpoint, Service
from nats.protocol.parser import Parser

from tests.architecture.tree import ROOT, modules

OVERRIDDEN: dict[type, dict[str, str]] = {
    Client: {
        "_flush_pending": "(self, force_flush: 'bool' = False) -> 'Any'",
        "_process_pong": "(self) -> 'None'",
        "_remove_sub": "(self, sid: 'int', max_msgs: 'int' = 0) -> 'None'",
    },
}
"""Methods whose place one of ours takes, with the signature that nats-py calls them by."""

USED: dict[type, set[str]] = {
    Client: {
        "_flush_queue",
        "_max_payload",
        "_pending",
        "_pending_data_size",
        "_pongs",
        "_process_msg",
        "_ps",
        "_send_unsubscribe",
        "_sid",
        "_status",
        "_subs",
        "_transport",
    },
    TcpTransport: {"_bare_io_reader", "_bare_io_writer", "_io_reader", "_io_writer"},
    Parser: set(),
    Request: {"_msg"},
    Service: {"_endpoints"},
    Endpoint: {"_num_requests", "_subscription"},
}
"""What is read or written."""

OURS = {"NatsClient": Client, "BoundedTcp": TcpTransport, "DirectParser": Parser}
"""Our classes that are built on those of nats-py."""

LISTED = [
    (kind, name) for kind in USED for name in sorted(USED[kind] | OVERRIDDEN.get(kind, {}).keys())
]


SHARED = {"_loop", "_transport"}
"""Names that ours and those of nats-py happen to share."""


def source_of(kind: type) -> str:
    return inspect.getsource(kind)


def has(kind: type, name: str) -> bool:
    """Say whether instances of a class have a member: it is assigned in it, or defined."""
    return hasattr(kind, name) or re.search(rf"self\.{name}\b.* = ", source_of(kind)) is not None


def private(node: ast.AST) -> set[str]:
    """Return the private names that are looked up on anything, and those of methods."""
    found = {each.attr for each in ast.walk(node) if isinstance(each, ast.Attribute)}
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    found |= {each.name for each in ast.walk(node) if isinstance(each, defined)}
    return {name for name in found if name.startswith("_") and not name.startswith("__")}


@pytest.mark.parametrize(("kind", "name"), LISTED)
def test_what_is_used_of_nats_py_is_there(kind: type, name: str):
    assert has(kind, name)


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in OVERRIDDEN.items() for name in names]
)
def test_what_is_overridden_is_called_as_before(kind: type, name: str):
    assert str(inspect.signature(getattr(kind, name))) == OVERRIDDEN[kind][name]


def test_every_private_member_that_is_used_is_listed():
    met: dict[type, set[str]] = {kind: set() for kind in OURS.values()}
    for module in modules("bus"):
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.ClassDef) and node.name in OURS:
                for kind in OURS.values():
                    met[kind] |= {name for name in private(node) if has(kind, name)}
    for kind, names in met.items():
        listed = USED[kind] | OVERRIDDEN.get(kind, {}).keys()
        assert {name for name in names if has(kind, name)} - listed <= SHARED


def test_the_members_of_micro_services_are_listed():
    named = private(ast.parse((ROOT / "bus/requests/service.py").read_text()))
    met = {name for name in named for kind in (Request, Service, Endpoint) if has(kind, name)}
    ours = {"_num_requests", "_subscription", "_endpoints", "_msg"}
    assert met & ours == USED[Request] | USED[Service] | USED[Endpoint]


def test_releases_that_were_never_tried_are_kept_out():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (demand,) = [each for each in dependencies if each.startswith("nats-py")]
    ceiling = re.search(r"<(\d+)\.(\d+)", demand)
    assert ceiling is not None
    major, minor = version("nats-py").split(".")[:2]
    assert (int(major), int(minor)) < (int(ceiling[1]), int(ceiling[2]))

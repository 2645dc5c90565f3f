"""What production code never contains, and what a declared interface promises."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.tree import PACKAGES, Module, modules

UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|NotImplementedError)\b")

# Here a handler, core or process is called, and what it raises must not end its neighbours.
BOUNDARIES = (
    "actors/mcp_pool/flow/means.py",
    "actors/streaming/flow/batch_watch.py",
    "actors/streaming/flow/batches.py",
    "bus/connection/parser.py",
    "bus/connection/subscription.py",
    "actors/streaming/flow/batch_watch.py",
    "actors/streaming/flow/batches.py",
    "bus/runtime",
    "bus/requests/service.py",
    "bus/shard/book.py",
    "bus/shard/effects.py",
    "bus/shard/history.py",
    "bus/shard/turn.py",
    "bus/work",
)


def test_nothing_is_left_unfinished():
    marks = [
        f"{module.path}:{number} {line.strip()}"
        for module in modules(*PACKAGES)
        for number, line in enumerate(module.text.splitlines(), start=1)
        if UNFINISHED.search(line)
    ]

    assert marks == []


def test_every_exception_is_caught_only_where_foreign_code_is_called():
    handlers = [
        f"{module.path}:{node.lineno}"
        for module in modules(*PACKAGES)
        if not module.path.startswith(BOUNDARIES)
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.ExceptHandler) and _catches_everything(node)
    ]

    assert handlers == []


def test_a_declared_interface_is_exactly_what_the_module_binds_in_public():
    differences = {
        module.path: sorted(declared ^ set(_public_names(module)))
        for module in modules(*PACKAGES)
        if (declared := _declared(module)) is not None and module.path.endswith("__init__.py")
    }

    assert {path: names for path, names in differences.items() if names} == {}


def _catches_everything(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    caught = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return any(
        isinstance(name, ast.Name) and name.id in {"Exception", "BaseException"} for name in caught
    )


def _declared(module: Module) -> set[str] | None:
    for node in module.syntax.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="__all__")], value=value):
                return set(ast.literal_eval(value))
            case _:
                continue
    return None


def _public_names(module: Module) -> Iterator[str]:
    for node in module.syntax.body:
        match node:
            case ast.ImportFrom(names=aliases):
                bound = [alias.asname or alias.name for alias in aliases]
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                bound = [name]
            case ast.ClassDef(name=name) | ast.AnnAssign(target=ast.Name(id=name)):
                bound = [name]
            case ast.Assign(targets=targets):
                bound = [target.id for target in targets if isinstance(target, ast.Name)]
            case _:
                bound = []
        yield from (name for name in bound if not name.startswith("_"))

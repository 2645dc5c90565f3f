"""The import contracts catch what they forbid: violations planted in a copy are reported."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.architecture.tree import PACKAGES, ROOT

HOUSE = "Actors stand on the bus, and the bus on the messages"
STRANGERS = "Actors never import each other; only the fleet and the CLI know several"
ACTOR = "Inside an actor: main, handlers, flow, adapters, settings, core"
CORES = "Cores are pure: no bus, I/O, clock, randomness or logging"
MESSAGES = "Messages are pure: msgspec and the standard library's data types"
ONE_DOOR = "Only the bus speaks NATS"
BUS = "Inside the bus: from processes down to errors"
PRODUCT = "The bus knows no product"
CIRCLES = "No circles"

SECONDS = 40
"""How long the one run over all planted violations may take on a busy machine."""


class Violation(NamedTuple):
    """A line planted at the end of a file, and how the contract that forbids it reports it."""

    name: str
    file: str
    line: str
    contract: str
    report: str


VIOLATIONS = [
    Violation(
        "an actor imports another actor",
        "actors/planted/actor.py",
        "from actors.neighbour import actor",
        STRANGERS,
        "actors.planted.actor -> actors.neighbour.actor",
    ),
    Violation(
        "an actor imports the fleet",
        "actors/neighbour/actor.py",
        "import actors.fleet",
        STRANGERS,
        "actors.neighbour.actor -> actors.fleet",
    ),
    Violation(
        "an adapter speaks NATS",
        "actors/planted/adapters/wire.py",
        "import nats",
        ONE_DOOR,
        "actors.planted.adapters.wire -> nats",
    ),
    Violation(
        "an adapter calls a handler",
        "actors/planted/adapters/callback.py",
        "from actors.planted import actor",
        ACTOR,
        "actors.planted.adapters.callback -> actors.planted.actor",
    ),
    Violation(
        "an adapter knows the course of calls",
        "actors/streaming/adapters/answers.py",
        "from actors.streaming.flow import attempt",
        ACTOR,
        "actors.streaming.adapters.answers -> actors.streaming.flow.attempt",
    ),
    Violation(
        "settings know an adapter",
        "actors/planted/config.py",
        "from actors.planted.adapters import wire",
        ACTOR,
        "actors.planted.config -> actors.planted.adapters.wire",
    ),
    Violation(
        "a core calls an adapter",
        "actors/planted/core/outside.py",
        "from actors.planted.adapters import wire",
        ACTOR,
        "actors.planted.core.outside -> actors.planted.adapters.wire",
    ),
    Violation(
        "a core imports the bus",
        "actors/planted/core/bound.py",
        "from bus import errors",
        CORES,
        "actors.planted.core.bound -> bus.errors",
    ),
    Violation(
        "a core reads the clock",
        "actors/planted/core/clock.py",
        "import time",
        CORES,
        "actors.planted.core.clock -> time",
    ),
    Violation(
        "a core throws dice inside a function",
        "actors/planted/core/dice.py",
        "def throw() -> None:\n    import random",
        CORES,
        "actors.planted.core.dice -> random",
    ),
    Violation(
        "a core hides an import behind TYPE_CHECKING",
        "actors/planted/core/hidden.py",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import httpx",
        CORES,
        "actors.planted.core.hidden -> httpx",
    ),
    Violation(
        "a core is asynchronous",
        "actors/planted/core/waiting.py",
        "import asyncio",
        CORES,
        "actors.planted.core.waiting -> asyncio",
    ),
    Violation(
        "a core writes a log",
        "actors/planted/core/talkative.py",
        "import structlog",
        CORES,
        "actors.planted.core.talkative -> structlog",
    ),
    Violation(
        "a message does input and output",
        "schemas/planted.py",
        "import anyio",
        MESSAGES,
        "schemas.planted -> anyio",
    ),
    Violation(
        "a message imports the bus",
        "schemas/planted_bound.py",
        "from bus import errors",
        HOUSE,
        "schemas.planted_bound -> bus.errors",
    ),
    Violation(
        "the bus imports an actor",
        "bus/codec.py",
        "import actors.planted.actor",
        HOUSE,
        "bus.codec -> actors.planted.actor",
    ),
    Violation(
        "a low module of the bus imports a higher one",
        "bus/errors.py",
        "import bus.codec",
        BUS,
        "bus.errors -> bus.codec",
    ),
    Violation(
        "two neighbours on one floor of the bus meet",
        "bus/subjects.py",
        "import bus.codec",
        BUS,
        "bus.subjects -> bus.codec",
    ),
    Violation(
        "a new module of the bus has no place",
        "bus/unplaced.py",
        "",
        BUS,
        "bus.unplaced",
    ),
    Violation(
        "the bus learns what an agent is",
        "bus/kv/bucket.py",
        "import schemas.agents",
        PRODUCT,
        "bus.kv.bucket -> schemas.agents",
    ),
    Violation(
        "a circle is closed inside a function",
        "schemas/base.py",
        "def late() -> None:\n    import schemas.problems",
        CIRCLES,
        "No cycles are allowed in schemas",
    ),
]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Plant everything in one copy, run the contracts once, and return the report of each."""
    copy = tmp_path_factory.mktemp("planted")
    shutil.copy(ROOT / "pyproject.toml", copy)
    for package in PACKAGES:
        shutil.copytree(
            ROOT / package, copy / package, ignore=shutil.ignore_patterns("__pycache__")
        )
    for violation in VIOLATIONS:
        _plant(copy, violation)
    (copy / "actors" / "fleet.py").touch()
    return _sections(_lint_imports(copy))


@pytest.mark.parametrize("violation", VIOLATIONS, ids=lambda violation: violation.name)
def test_a_contract_reports(violation: Violation, reports: dict[str, str]):
    assert re.search(rf"{re.escape(violation.report)}\b", reports[violation.contract])


def test_every_contract_is_tried(reports: dict[str, str]):
    assert set(reports) == {violation.contract for violation in VIOLATIONS}


def _plant(copy: Path, violation: Violation) -> None:
    file = copy / violation.file
    for folder in reversed(file.relative_to(copy).parents[:-1]):
        (copy / folder).mkdir(exist_ok=True)
        (copy / folder / "__init__.py").touch()
    with file.open("a", encoding="utf-8") as source:
        source.write(f"\n{violation.line}\n")


def _lint_imports(copy: Path) -> str:
    run = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=copy,
        env={**os.environ, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert run.returncode == 1, run.stdout + run.stderr
    return run.stdout


def _sections(output: str) -> dict[str, str]:
    """Cut the report of the broken contracts into one text a contract; each is underlined."""
    parts = re.split(r"\n([^\n]+)\n-+\n", output.split("Broken contracts", maxsplit=1)[1])
    return dict(zip(parts[1::2], parts[2::2], strict=True))

"""Files that mean harm are refused at once, with a typed error that names what is wrong."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from actors.pricing.adapters import shipped
from actors.streaming.adapters import safety_file
from bus import files
from bus.codec import convert
from bus.errors import ConfigError, ProblemError
from bus.security.secrets import SecretEntry
from schemas.agents import ApplyAgent
from tests import hostile

MOST_REFUSAL_BYTES = 4000
BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)
MERGES = "a: &a {k: 1}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)}\n  <<: [{','.join(['*' + chr(97 + n)] * 9)}]\n"
    for n in range(9)
)
HOSTILE_YAML = {
    "an alias bomb": BOMB,
    "a bomb of merged keys": MERGES,
    "many aliases": "a: &a 1\nb: [" + "*a," * 5000 + "]",
    "an alias of what it stands in": "a: &a [*a]",
    "an alias of nothing": "a: *a",
    "flow nested deep": "a: " + "[" * 800 + "]" * 800,
    "blocks nested deep": "".join(f"{' ' * n}a:\n" for n in range(900)),
    "sequences nested deep": "- " * 3000 + "x",
    "a number of 5000 digits": "a: " + "1" * 5000,
    "a number in base 60": "a: " + ":".join(["59"] * 4000),
    "not a number": "a: .nan",
    "infinity": "a: -.inf",
    "a date that is none": "a: 2026-13-45",
    "half a surrogate pair": 'a: "\\ud83d"',
    "a list as a key": "? [a]\n: b",
    "an object of Python": "a: !!python/object/apply:os.getcwd []",
    "control characters": "a: \x1b[31m",
    "nothing": "",
    "two documents": "a: 1\n---\na: 2\n",
    "wide": "a: [" + "x," * 60_000 + "]",
}


def demand_refusal(read: Callable[[Path], object], path: Path) -> None:
    with pytest.raises((ProblemError, ConfigError)):
        read(path)


READERS: dict[str, Callable[[Path], object]] = {
    "agents.yaml": lambda path: [
        convert(ApplyAgent, each) for each in files.documents(files.read(path)) or [None]
    ],
    "agent.json": lambda path: files.of(path, ApplyAgent),
    "secrets.yaml": lambda path: files.of(path, dict[str, SecretEntry]),
    "secrets.json": lambda path: files.of(path, dict[str, SecretEntry]),
    "safety.yaml": safety_file.load,
    "safety.json": safety_file.load,
    "prices.toml": shipped.read_overlay,
    "prices.json": shipped.read_overlay,
}


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith("yaml")])
@pytest.mark.parametrize("kind", HOSTILE_YAML)
def test_hostile_yaml_is_refused_with_a_typed_error(kind: str, name: str, tmp_path: Path):
    if (name, kind) == ("secrets.yaml", "nothing"):
        pytest.skip("no secrets are none")
    file = tmp_path / name
    file.write_text(HOSTILE_YAML[kind], encoding="utf-8")
    demand_refusal(READERS[name], file)


@pytest.mark.parametrize("name", [name for name in READERS if name.endswith("json")])
def test_hostile_json_in_a_file_is_refused_or_read(name: str, tmp_path: Path):
    file = tmp_path / name
    for fragment in hostile.FRAGMENTS.values():
        for text in (fragment, b'{"id":%b}' % fragment, b'{"name":"x","rows":%b}' % fragment):
            file.write_bytes(text)
            refusal = ""
            try:
                READERS[name](file)
            except (ProblemError, ConfigError) as error:
                refusal = str(error)
            assert len(refusal) < MOST_REFUSAL_BYTES


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 2000 + "]" * 2000,
        'name = "x"\n' + ".".join(["a"] * 3000) + " = 1",
        "[" + ".".join(["a"] * 3000) + "]",
        'name = "x"\na = 1e999999999',
        'name = "x"\na = nan',
        'name = "x"\na = ' + "9" * 5000,
        "a = 2026-13-45",
        "\ufeffa",
    ],
)
def test_hostile_toml_is_refused_with_a_typed_error(text: str, tmp_path: Path):
    file = tmp_path / "prices.toml"
    file.write_text(text, encoding="utf-8")
    demand_refusal(shipped.read_overlay, file)


def _pipe(directory: Path) -> Path:
    os.mkfifo(directory / "pipe")
    return directory / "pipe"


def _large(directory: Path) -> Path:
    with (directory / "large").open("wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    return directory / "large"


REASONS = {
    "a pipe": "no regular file",
    "a device": "no regular file",
    "a directory": "no regular file|cannot read",
    "a large file": "larger than",
}
SPECIAL: dict[str, Callable[[Path], Path]] = {
    "a pipe": _pipe,
    "a large file": _large,
    "a device": lambda _: Path("/dev/zero"),
    "a directory": lambda directory: directory,
    "nothing": lambda directory: directory / "nothing",
    "a file as a directory": lambda directory: _large(directory) / "x",
    "a name that is too long": lambda directory: directory / ("a" * 300),
    "a name with a null character": lambda _: Path("a\0b"),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_of_bearable_size_is_refused_at_once(name: str, kind: str, tmp_path: Path):
    path, link = SPECIAL[kind](tmp_path), tmp_path / name
    if "\0" not in str(path):
        # Under the name by which the reader tells JSON from YAML.
        link.symlink_to(path)
        path = link
    demand_refusal(READERS[name], path)
    with pytest.raises(ProblemError, match=REASONS.get(kind, "cannot read")):
        files.read(path)

"""Every request of the contract is a command: its fields are typed, its reply is shown."""

import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import anyio
import click
import msgspec
import pytest
from anyio.lowlevel import checkpoint
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.cli import asking
from actors.cli.commands import BY_HAND, main
from actors.cli.fields import MONEY, PICO, option_names, options, positional
from actors.cli.requests import BY_HAND as AMONG_REQUESTS
from actors.cli.requests import Where, domains, verb
from bus.codec import convert, encode
from bus.ports import Delivery
from schemas import catalog
from schemas.agents import AgentDefinition, AgentList, ApplyAgent
from schemas.base import Command, Message, Request, StrictValue
from schemas.catalog import RequestRow
from schemas.ids import Token
from tests.contract.examples import example

ROWS = [
    row
    for row in catalog.requests()
    if verb(row) not in AMONG_REQUESTS.get(row.name.partition(".")[0], {})
]
SLOW_TO_IMPORT = ("aiohttp", "anyio", "nats", "opentelemetry", "rich", "structlog", "yaml")
AGENT = example(AgentDefinition)


@dataclass
class FakeSession:
    """A session whose bus answers each request with the example of its reply."""

    tenant: str = "acme"
    sent: list[tuple[str, bytes]] = field(default_factory=list[tuple[str, bytes]])

    def opened(self, where: Where) -> "FakeSession":
        self.tenant = where.tenant or self.tenant
        return self

    def run_connected(self, body: Callable[[Any], Awaitable[None]]) -> None:
        anyio.run(body, self)

    def run_as_fleet(self, body: Callable[[Any], Awaitable[None]]) -> None:
        self.run_connected(body)

    async def request(self, subject: str, data: bytes, **_: Any) -> Delivery:
        await checkpoint()
        self.sent.append((subject, data))
        if ".submit." in subject:
            return Delivery(subject, b'{"stream":"INBOX_acme","seq":7}')
        kind = catalog.find(subject.split(".", 2)[2])
        assert kind is not None
        return Delivery(subject, encode(example(kind.REPLY)))


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> FakeSession:
    fake = FakeSession()
    monkeypatch.setattr(asking, "opened", fake.opened)
    return fake


def run(*line: str, text: str | None = None, code: int = 0) -> Result:
    done = CliRunner().invoke(main, line, input=text)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def command_of(row: RequestRow) -> list[str]:
    return [row.name.partition(".")[0], verb(row)]


def typed(request: Any) -> list[str]:
    """Return the words of a command line that say what a request holds."""
    kind, line = type(request), list[str]()
    for name, option in option_names(kind).items():
        value = getattr(request, name)
        if isinstance(value, list):
            line += [word for one in value for word in _option(name, option, one, is_list=True)]
        elif value is not None:
            line += _option(name, option, value)
    return [*line, *(getattr(request, name) for name in positional(kind))]


def _option(name: str, option: str, value: Any, *, is_list: bool = False) -> list[str]:
    match value:
        case bool() if not is_list:
            return [option if value else f"--no-{option[2:]}"]
        case bool():
            return [option, "true" if value else "false"]
        case int() if name.endswith(MONEY):
            return [option, f"{Decimal(value) / PICO:f}"]
        case int() | float() | str():
            return [option, str(value)]
        case _:
            return [option, encode(value).decode().strip('"')]


def texts(value: Any) -> list[str]:
    """Return the longer texts that a reply holds."""
    match value:
        case dict():
            return [text for one in value.values() for text in texts(one)]
        case list():
            return [text for one in value for text in texts(one)]
        case str() if len(value) > 2:
            return [value]
        case _:
            return []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_is_typed_is_asked_and_the_reply_is_shown(row: RequestRow, bus: FakeSession):
    wanted = example(row.message)
    printed = run(*command_of(row), *typed(wanted), "--json").stdout

    [(subject, data)] = bus.sent
    assert subject == row.subject.replace("{tenant}", "acme")
    assert msgspec.json.decode(data, type=row.message) == wanted
    assert msgspec.json.decode(printed, type=row.reply) == example(row.reply)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_request_can_be_read_from_standard_input_and_its_reply_is_for_people(
    row: RequestRow, bus: FakeSession
):
    wanted = example(row.message)
    printed = run(*command_of(row), "-", text=encode(wanted).decode()).stdout

    assert msgspec.json.decode(bus.sent[0][1], type=row.message) == wanted
    assert any(text in printed for text in texts(msgspec.to_builtins(example(row.reply))))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_help_names_each_field_and_no_option_twice(row: RequestRow):
    told = run(*command_of(row), "--help").stdout
    context = click.Context(main)
    group = main.get_command(context, command_of(row)[0])
    assert isinstance(group, click.Group)
    command = group.get_command(context, verb(row))
    assert command is not None
    params = command.params
    options = [name for param in params for name in (*param.opts, *param.secondary_opts)]

    assert len(options) == len(set(options))
    assert {*row.message.__struct_fields__} <= {*positional(row.message), *(p.name for p in params)}
    assert all(name.upper() in told for name in positional(row.message))
    assert ("--submit" in told) is issubclass(row.message, Command)


@pytest.mark.parametrize("row", [r for r in ROWS if r.submit], ids=lambda row: row.name)
def test_the_durable_form_of_a_command_is_stored_and_the_receipt_shown(
    row: RequestRow, bus: FakeSession
):
    text = encode(example(row.message)).decode()
    printed = run(*command_of(row), "-", "--submit", "--only", "sequence", text=text).stdout
    assert bus.sent[0][0] == (row.submit or "").replace("{tenant}", "acme")
    assert printed == "7\n"


class _Place(StrictValue):
    row: int
    seat: str = "a"


class _Strange(Request):
    """Whatever a field may be. ``level`` is how high; ``json`` is no flag."""

    SUBJECT: ClassVar[str] = "tests.strange"
    REPLY: ClassVar[type[Message]] = AgentList
    ACTION: ClassVar[str] = "agents:read"

    ring_id: Token
    level: Annotated[int, msgspec.Meta(gt=0, lt=10)] = 5
    ratio: Annotated[float, msgspec.Meta(ge=0)] = 0.5
    json: bool = False
    submit: str | None = None
    limit: int | None = None
    limit_pico: int | None = None
    agent: str | None = None
    agent_id: Token | None = None
    amounts_pico: list[int] = []
    numbers: list[int] = []
    truths: list[bool] = []
    places: list[_Place] = []
    place: _Place | None = None
    names: dict[str, str] = {}
    kind: Literal["a", "b", "c"] | None = None
    one_of: Literal[1, 2] = 1
    at: datetime | None = None
    pair: tuple[int, str] | None = None
    anything: Any = None


STRANGE = st.builds(
    _Strange,
    ring_id=st.just("r1"),
    level=st.integers(1, 9),
    ratio=st.floats(0, 1e6),
    json=st.booleans(),
    submit=st.none() | st.text(st.characters(codec="ascii", categories=["L"]), min_size=1),
    limit=st.none() | st.integers(-(10**6), 10**6),
    limit_pico=st.none() | st.integers(-(10**15), 10**15),
    agent=st.none() | st.just("a b"),
    agent_id=st.none() | st.just("a-1"),
    amounts_pico=st.lists(st.integers(0, 10**13), max_size=2),
    numbers=st.lists(st.integers(-9, 9), max_size=3),
    truths=st.lists(st.booleans(), max_size=2),
    places=st.lists(st.builds(_Place, row=st.integers(0, 9)), max_size=2),
    place=st.none() | st.builds(_Place, row=st.integers(0, 9), seat=st.text(max_size=3)),
    names=st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=2),
    kind=st.sampled_from([None, "a", "b", "c"]),
    one_of=st.sampled_from([1, 2]),
    at=st.none() | st.datetimes(timezones=st.just(UTC)),
    pair=st.none() | st.tuples(st.integers(0, 9), st.just("x")),
    anything=st.none() | st.lists(st.integers(0, 9), max_size=2).map(lambda one: {"k": one}),
)


@settings(max_examples=40)
@given(STRANGE)
def test_a_field_of_any_kind_is_read_back_from_what_is_typed(wanted: _Strange):
    """Where names collide, options have the fields' whole names."""
    read: list[Any] = []

    def keep(**given: Any) -> None:
        words = given.pop("words")
        fields = {name: one for name, one in given.items() if one not in (None, ())}
        lists = {n: list(one) if isinstance(one, tuple) else one for n, one in fields.items()}
        read.append(convert(_Strange, {"ring_id": words} | lists))

    argument = click.Argument(["words"])
    command = click.Command("strange", params=[argument, *options(_Strange)], callback=keep)
    done = CliRunner().invoke(command, typed(wanted))
    assert done.exit_code == 0, (done.output, done.exception)
    assert read == [wanted]


# Words, files and mistakes


def test_options_hold_over_what_is_in_a_file(bus: FakeSession, tmp_path: Path):
    (tmp_path / "two.yaml").write_text(
        "id: one\ndescription: old\n---\nid: two\n", encoding="utf-8"
    )
    (tmp_path / "three.json").write_text('{"id": "three"}', encoding="utf-8")
    files = [str(tmp_path / "two.yaml"), str(tmp_path / "three.json")]
    printed = run("agents", "apply", *files, "--description", "d", "--kind", "k").stdout

    asked = [msgspec.json.decode(data, type=ApplyAgent) for _, data in bus.sent]
    assert [one.id for one in asked] == ["one", "two", "three"]
    assert {one.description for one in asked} == {"d"}
    assert printed.count(AGENT.status) == len(asked)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["agents", "get"], "Missing argument 'ID'"),
        (["agents", "get", "a", "b"], "unexpected extra argument (b)"),
        (["agents", "toggle", "a"], "OFFLINE"),
        (["agents", "list", "--limit", "0"], "1<=x<=1000"),
        (["agents", "list", "--sort-by", "colour"], "execution_count"),
        (["budgets", "set", "b"], "--limit"),
        (["budgets", "set", "b", "--limit", "much"], "no amount of dollars"),
        (["budgets", "set", "b", "--limit", "1e999999999"], "no amount of dollars"),
        (["budgets", "set", "b", "--limit", "0.0000000000001"], "no amount of dollars"),
        (["budgets", "set", "b", "--limit", "NaN"], "no amount of dollars"),
        (["llm", "embed", "--provider", "{", "--text", "t"], "is no JSON"),
    ],
)
def test_what_is_mistyped_is_said_before_anybody_is_asked(
    line: list[str], said: str, bus: FakeSession
):
    assert said in run(*line, code=2).output
    assert bus.sent == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, "cannot read agent.yaml: No such file"),
        (b"", "agent.yaml holds nothing"),
        (b"\x89PNG\xff\xfe", "agent.yaml: it is no text in UTF-8: is it a binary file?"),
        (b"id: [a", "malformed at line 1: expected ',' or ']'"),
        (b"id: a\nname: b: c", 'a text with ": " in it needs quotes'),
        (b"id: a\n? [b]\n: c", "YAML is malformed at line 2: found unhashable key"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_with_the_reason(
    data: bytes | None, said: str, bus: FakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    if data is not None:
        Path("agent.yaml").write_bytes(data)

    told = run("agents", "apply", "agent.yaml", code=2).stderr

    assert said in told
    assert told.count("\n") == 1
    assert bus.sent == []


@pytest.mark.parametrize(
    ("line", "text", "said"),
    [
        (["agents", "get", "a b"], None, "(id)"),
        (["agents", "apply", "-"], "id: a\ncolour: red", "(colour)"),
        (["agents", "get", "a", "--only", "colour"], None, "no field colour"),
    ],
)
def test_what_is_refused_is_a_problem_with_its_field(
    line: list[str], text: str | None, said: str, bus: FakeSession
):
    assert said in run(*line, text=text, code=1).stderr
    assert bus.tenant == "acme"


def test_a_command_that_must_have_an_id_of_its_own_is_given_one(bus: FakeSession):
    for _ in range(2):
        run("budgets", "top-up", "team", "--amount", "1.5")
    one, other = (msgspec.json.decode(data) for _, data in bus.sent)
    assert one["id"] != other["id"]
    assert (one["budget_id"], one["amount_pico"]) == ("team", 3 * PICO // 2)


def test_one_field_of_a_reply_is_printed_as_it_is(bus: FakeSession):
    system = run("agents", "get", "a", "--only", "prompts.system").stdout
    total = run("agents", "list", "--only", "total").stdout
    assert (system, total) == (f"{AGENT.prompts.system}\n", f"{example(AgentList).total}\n")
    assert len(bus.sent) == 2


def test_operators_ask_in_the_name_of_the_platform_where_a_request_allows_it(bus: FakeSession):
    run("budgets", "--platform", "list")
    assert bus.sent[0][0] == "cb.$platform.budgets.list"
    assert "No such option" in run("agents", "--platform", "list", code=2).output


# The root


def test_every_command_written_by_hand_is_there_and_none_hides_a_domain():
    for name in BY_HAND:
        assert isinstance(main.get_command(click.Context(main), name), click.Command)
    assert not BY_HAND.keys() & domains().keys()
    assert set(main.list_commands(click.Context(main))) == BY_HAND.keys() | domains().keys()


@pytest.mark.parametrize("line", [["--help"], ["agents", "--help"], ["agents", "apply", "--help"]])
def test_help_imports_nothing_that_takes_long(line: list[str]):
    program = (
        "import sys; from actors.cli.commands import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        f"print('slow:', *(name for name in {SLOW_TO_IMPORT!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *line], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("slow:\n"), done.stdout[-200:]

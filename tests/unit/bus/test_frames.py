"""What the server sends is read as it was written, however the network cuts it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from nats.errors import ProtocolError

from bus.connection.frames import (
    Begun,
    Frame,
    IncompleteFrame,
    next_frame,
    read_headers,
    sized,
    written,
)
from bus.connection.parser import DirectParser
from bus.ports import Delivery

MESSAGES = [
    Delivery("cb.acme.stream.1", b"hello", "", None),
    Delivery("_INBOX.a.7", b"", "_INBOX.b", None),
    Delivery("_INBOX.a.8", b"", "", {"Status": "503"}),
    Delivery("_INBOX.a.9", b"MSG a 1 3\r\nabc\r\n", "r", {"Nats-Sequence": "7", "X": "a: b"}),
]


def _written(message: Delivery, sid: int = 1) -> bytes:
    reply = f" {message.reply}" if message.reply else ""
    size = len(message.data)
    if message.headers is None:
        line = f"MSG {message.subject} {sid}{reply} {size}\r\n"
        return line.encode() + message.data + b"\r\n"
    status = message.headers.get("Status")
    lines = [f"{name}: {text}" for name, text in message.headers.items() if name != "Status"]
    first = f"NATS/1.0 {status}" if status else "NATS/1.0"
    head = "\r\n".join([first, *lines, "", ""]).encode()
    line = f"HMSG {message.subject} {sid}{reply} {len(head)} {len(head) + size}\r\n"
    return line.encode() + head + message.data + b"\r\n"


class Bus:
    """A parser with one receiver, and what it was given."""

    def __init__(self) -> None:
        self.taken: list[Delivery] = []
        self.errors: list[Exception] = []
        self.parser = DirectParser(Client(), self.errors.append)
        self.parser.receivers[1] = self.taken.append

    async def read(self, data: bytes) -> None:
        """Take what can be taken at once, and parse the rest, as a socket and its reader do."""
        left = self.parser.take(data)
        if left:
            await self.parser.parse(left)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.subject)
def test_a_message_is_read_as_it_was_written(message: Delivery):
    data = _written(message)

    frame = next_frame(b"+OK\r\n" + data, 5)

    assert isinstance(frame, Frame)
    assert (frame.delivery(), frame.end) == (message, len(data) + 5)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.subject)
def test_a_part_of_a_message_says_how_much_is_needed(message: Delivery):
    data = _written(message)
    line = data.index(b"\r\n") + 2

    for cut in range(5, len(data)):
        assert next_frame(data[:cut], 0) == IncompleteFrame(len(data) if cut >= line else 0)


@pytest.mark.parametrize("line", [b"MSG a 1\r\n", b"MSG a b c d\r\n", b"HMSG a 1 3\r\n"])
def test_a_malformed_message_is_an_error(line: bytes):
    with pytest.raises(ValueError, match=r"malformed|invalid literal"):
        next_frame(line + b"abc\r\n", 0)


def test_a_status_comes_with_its_description_and_the_headers_below():
    raw = b"NATS/1.0 100 Idle Heartbeat\r\nNats-Last-Consumer: 10\r\n\r\n"

    assert read_headers(raw) == {
        "Status": "100",
        "Description": "Idle Heartbeat",
        "Nats-Last-Consumer": "10",
    }


@given(cuts=st.lists(st.integers(0, 400), max_size=12))
async def test_any_cut_of_the_bytes_gives_the_same_messages(cuts: list[int]):
    data = b"+OK\r\n".join(_written(message) for message in MESSAGES)
    bus = Bus()

    places = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    for start, stop in pairwise(places):
        await bus.read(data[start:stop])

    assert (bus.taken, bus.errors) == (MESSAGES, [])


async def test_messages_for_receivers_are_taken_at_once_and_what_follows_a_word_is_not():
    bus, first, second = Bus(), _written(MESSAGES[0]), _written(MESSAGES[1])
    await bus.parser.parse(b"+OK\r\n")

    assert bus.parser.take(first + first[:9]) == b""
    assert bus.parser.take(first[9:]) == b""
    assert bus.parser.take(second + b"PONG\r\n" + first) == b"PONG\r\n" + first
    assert bus.taken == [MESSAGES[0], MESSAGES[0], MESSAGES[1]]


def test_nothing_is_taken_before_the_connection_is_made():
    bus = Bus()

    assert bus.parser.take(_written(MESSAGES[0])) == _written(MESSAGES[0])
    assert bus.taken == []


async def test_a_receiver_that_raises_costs_only_its_message():
    bus = Bus()
    failure = RuntimeError("cannot take it")

    def refuse(_: Delivery) -> None:
        raise failure

    bus.parser.receivers[2] = refuse
    await bus.parser.parse(_written(MESSAGES[0], sid=2) + _written(MESSAGES[0]))

    assert (bus.taken, bus.errors) == (MESSAGES[:1], [failure])


@pytest.mark.parametrize("nonsense", [b"HELO you\r\n", b"MSG a b c d\r\n"])
async def test_nonsense_from_the_server_is_a_protocol_error(nonsense: bytes):
    with pytest.raises(ProtocolError):
        await Bus().parser.parse(nonsense)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: message.subject)
def test_a_message_is_sent_as_it_would_be_read(message: Delivery):
    headers = dict(message.headers) if message.headers is not None else None
    sent = written(message.subject, message.data, message.reply, headers)

    # What a server makes of it: the same with a number behind the subject.
    line, _, rest = sent.partition(b"\r\n")
    verb, subject, *others = line.split()
    received = b" ".join([verb.replace(b"PUB", b"MSG"), subject, b"1", *others])
    frame = next_frame(received + b"\r\n" + rest, 0)
    assert isinstance(frame, Frame)
    assert frame.delivery() == message


def test_a_header_cannot_bring_another_header():
    sent = written("s", b"", "", {"X": "a\r\nStatus: 503"})

    assert sent.split(b"\r\n")[1:3] == [b"NATS/1.0", b"X: a  Status: 503"]


async def test_a_new_connection_begins_with_nothing_half_read():
    bus = Bus()
    await bus.parser.parse(_written(MESSAGES[0])[:-4])

    bus.parser.reset()
    await bus.parser.parse(_written(MESSAGES[1]))

    assert bus.taken == MESSAGES[1:2]


# Messages that nobody wants


class Gated(Bus):
    """A bus whose receiver wants no message above ``most`` bytes that comes in pieces."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.asked: list[Begun] = []

        def gate(message: Begun) -> bool:
            self.asked.append(message)
            return message.size <= most

        self.parser.gates[1] = gate


@given(
    st.lists(st.tuples(st.sampled_from(MESSAGES), st.integers(0, 300)), max_size=8),
    st.lists(st.integers(1, 200), min_size=1, max_size=40),
)
async def test_what_is_not_wanted_is_dropped_and_nothing_else_however_it_is_cut(
    messages: list[tuple[Delivery, int]], cuts: list[int]
):
    bus = Gated(most=100)
    sent = [each._replace(data=each.data + b"x" * more) for each, more in messages]
    data, at = b"".join(map(_written, sent)), 0
    await bus.parser.parse(b"+OK\r\n")
    while at < len(data):
        size = cuts[at % len(cuts)]
        assert bus.parser.take(data[at : at + size]) == b""
        at += size
    rest = iter(sent)
    assert all(taken in rest for taken in bus.taken)
    assert not bus.parser.is_receiving
    small = [each for each in sent if each.headers is None and len(each.data) <= 100]
    assert all(each in bus.taken for each in small)


async def test_a_large_message_is_refused_by_its_first_line_alone():
    bus = Gated(most=100)
    await bus.parser.parse(b"+OK\r\n")
    large = _written(Delivery("cb.acme.llm.generate", b"x" * 10_000, "_INBOX.a", None))
    small = _written(MESSAGES[0])

    assert bus.parser.take(large[:60]) == b""
    assert bus.asked == [Begun(1, "cb.acme.llm.generate", "_INBOX.a", 10_000)]
    assert bus.parser.is_receiving
    for at in range(60, len(large), 1000):
        assert bus.parser.take(large[at : at + 1000]) == b""
    assert bus.parser.take(small) == b""

    assert bus.taken == [MESSAGES[0]]
    assert len(bus.asked) == 1


@given(
    st.binary(max_size=50),
    st.none() | st.dictionaries(st.sampled_from(["A", "Nats-Msg-Id"]), st.text(max_size=20)),
)
def test_a_message_is_as_large_as_the_server_will_find_it(
    data: bytes, headers: dict[str, str] | None
):
    try:
        line, _, rest = written("a", data, "", headers).partition(b"\r\n")
    except UnicodeEncodeError:
        return
    assert sized(data, headers) == int(line.split()[-1]) == len(rest) - 2

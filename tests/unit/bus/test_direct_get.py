"""A page of messages is whole, or it is an error."""

import pytest

from bus.errors import UnavailableError
from bus.jetstream.direct_get import DirectRead, MessagePage
from bus.ports import Delivery


def _message(sequence: int, previous: int) -> Delivery:
    headers = {
        "Nats-Subject": "s.a",
        "Nats-Sequence": str(sequence),
        "Nats-Last-Sequence": str(previous),
    }
    return Delivery("inbox", b"x", headers=headers)


def _status(status: str, previous: int = 0) -> Delivery:
    headers = {"Status": status, "Nats-Last-Sequence": str(previous)}
    return Delivery("inbox", b"", headers=headers)


def _page(*answers: Delivery | None) -> MessagePage:
    page = MessagePage("request")
    for answer in answers:
        page.take(answer)
    return page


def test_the_messages_up_to_the_end_of_the_batch_are_the_page():
    page = _page(_message(3, 0), _message(7, 3), _status("204", 7))

    assert page.messages() == [DirectRead(3, "s.a", b"x"), DirectRead(7, "s.a", b"x")]
    assert page.ended.is_set()


def test_nothing_found_is_an_empty_page():
    assert _page(_status("404")).messages() == []


@pytest.mark.parametrize(
    "answers",
    [
        [],
        [_message(3, 0)],
        [_message(3, 0), None],
        [_message(3, 0), _message(9, 7), _status("204", 9)],
        [_message(3, 0), _status("204", 7)],
        [_status("408")],
        [_status("503")],
    ],
    ids=["nothing", "no end", "loss", "gap", "gap at the end", "bad request", "no stream"],
)
def test_a_page_that_is_not_whole_is_unavailable(answers: list[Delivery | None]):
    with pytest.raises(UnavailableError):
        _page(*answers).messages()

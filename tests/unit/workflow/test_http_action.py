"""HTTP requests of workflows, against servers on this machine that behave and misbehave."""

import gzip
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import anyio
import msgspec
import pytest

from actors.workflow.adapters.http_action import LIMITS, HttpCaller
from bus.http import HttpClient
from bus.security.egress import Egress
from bus.security.secrets import SecretEntry, Secrets
from schemas.callbacks import MOST_TOLD_BYTES
from schemas.http_actions import HTTP_QUEUE, HttpDone, HttpWork, http_work, is_once, lane_of
from schemas.nets import HttpAction
from schemas.work import ReplyTo, WorkFailure, WorkItem
from tests.http_servers import HERE, Asked, Play, serving

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
SECRETS = Secrets(
    {"crm": SecretEntry(env="CRM_KEY", hosts=("127.0.0.1",), tenants=("acme",))},
    {"CRM_KEY": "sesame-17"},
)


def answering(status: str, body: bytes = b"", *headers: str) -> Play:
    async def play(asked: Asked) -> None:
        head = "\r\n".join([f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers])
        await asked.send(head.encode() + b"\r\n\r\n" + body)

    return play


JSON = "content-type: application/json; charset=utf-8"


def item(url: str, values: dict[str, Any] | None = None, **given: Any) -> WorkItem[HttpWork]:
    seconds, tenant = given.pop("seconds", 10.0), given.pop("tenant", "acme")
    action = HttpAction(url=url, **given)
    work = http_work(action, values or {}, NOW + timedelta(seconds=seconds))
    # As it comes to a worker, through a journal and an offer.
    work = msgspec.json.decode(msgspec.json.encode(work), type=HttpWork)
    return WorkItem(
        id="workflow.acme.run-1.f3.2",
        work="f3",
        attempt=2,
        queue=HTTP_QUEUE,
        tenant=tenant,
        reply_to=ReplyTo(entity="workflow", tenant=tenant, key="run-1"),
        since=NOW,
        body=work,
        once=is_once(action.method),
    )


def caller(client: HttpClient) -> HttpCaller:
    bus: Any = SimpleNamespace(clock=lambda: NOW)
    return HttpCaller(client, SECRETS, bus)


async def done(wanted: WorkItem[HttpWork], egress: Egress = HERE) -> HttpDone | WorkFailure:
    with anyio.fail_after(20):
        async with HttpClient(egress, LIMITS) as client:
            return await caller(client).do_request(wanted)


async def value(wanted: WorkItem[HttpWork]) -> dict[str, Any]:
    result = await done(wanted)
    assert isinstance(result, HttpDone)
    return msgspec.json.decode(result.outcome.value)


async def failure(wanted: WorkItem[HttpWork], egress: Egress = HERE) -> WorkFailure:
    result = await done(wanted, egress)
    assert isinstance(result, WorkFailure)
    return result


async def test_the_mapped_values_are_the_body_and_the_answer_is_parsed():
    bodies: list[bytes] = []

    async def play(asked: Asked) -> None:
        bodies.append(asked.body)
        await answering("201 Created", b'{"id":7,"tags":["a"]}', JSON)(asked)

    async with serving(play) as server:
        found = await value(item(f"{server.url}/leads?v=2", {"name": "Ada"}, secret="crm"))

        assert found == {"status": 201, "body": {"id": 7, "tags": ["a"]}}
        assert msgspec.json.decode(bodies[0]) == {"name": "Ada"}
        head = server.heads[0].lower()
        assert server.asked == ["POST /leads?v=2 HTTP/1.1"]
        assert b"authorization: bearer sesame-17\r\n" in head
        assert b"content-type: application/json\r\n" in head
        # The attempt is not in it: to the server a second one is the same request.
        assert b"idempotency-key: workflow.acme.run-1.f3\r\n" in head


async def test_values_of_a_request_without_body_are_its_query():
    async with serving(answering("200 OK", b"plain")) as server:
        values = {"q": "a b&c", "page": 2, "all": True, "tag": ["x", "y"], "none": None}
        found = await value(item(f"{server.url}/find?k=1#part", values, method="GET"))

        assert found == {"status": 200, "body": "plain"}
        assert server.asked == ["GET /find?k=1&q=a+b%26c&page=2&all=true&tag=x&tag=y HTTP/1.1"]


@pytest.mark.parametrize(
    ("status", "headers", "code", "retryable", "wait", "sent"),
    [
        ("500 No", (), "provider_error", True, None, True),
        ("503 Later", ("retry-after: 7",), "provider_overloaded", True, 7.0, False),
        ("503 Later", ("retry-after: soon",), "provider_overloaded", True, None, True),
        ("429 Slow", ("retry-after: 3",), "rate_limited", True, 3.0, False),
        ("404 Gone", ("retry-after: 3",), "not_found", False, None, True),
        ("401 Who", (), "unauthorized", False, None, True),
        ("422 Odd", (), "provider_error", False, None, True),
        ("302 There", ("location: /b",), "provider_error", False, None, True),
    ],
)
async def test_a_status_above_399_is_a_failure_that_holds_nothing_of_the_answer(
    status: str,
    headers: tuple[str, ...],
    code: str,
    retryable: bool,
    wait: float | None,
    sent: bool,
):
    async with serving(answering(status, b"private words", *headers)) as server:
        told = await failure(item(server.url))

    assert (told.problem.code, told.problem.retryable) == (code, retryable)
    assert (told.problem.retry_after, told.sent) == (wait, sent)
    assert b"private" not in msgspec.json.encode(told)


async def test_an_expected_status_is_an_answer():
    async with serving(answering("404 None", b"{}", JSON)) as server:
        assert await value(item(server.url, expect=[404])) == {"status": 404, "body": {}}


async def test_a_redirect_of_a_question_is_followed_without_secret_to_another_server():
    async with serving(answering("200 OK", b"there")) as other:
        away = answering("307 Away", b"", f"location: {other.url}/new?x=1")
        async with serving(away) as server:
            asked = item(server.url, method="GET", secret="crm", headers={"x-key": "own"})
            assert await value(asked) == {"status": 200, "body": "there"}

        assert other.asked == ["GET /new?x=1 HTTP/1.1"]
        head = other.heads[0].lower()
        assert b"sesame" not in head
        assert b"x-key" not in head
        assert b"authorization" not in head


@pytest.mark.parametrize(
    "target", ["http://10.0.0.9/", "http://169.254.169.254/latest", "ftp://a/"]
)
async def test_a_redirect_to_a_private_address_is_refused(target: str):
    async with serving(answering("302 There", b"", f"location: {target}")) as server:
        told = await failure(item(server.url, method="GET"))

    assert told.problem.code in ("forbidden", "validation")
    assert "10.0.0.9" not in told.problem.message


async def test_redirects_end():
    async with serving(answering("302 There", b"", "location: /again")) as server:
        told = await failure(item(server.url, method="GET"))
        assert len(server.asked) == 6

    assert told.problem.code == "provider_error"


async def test_a_closed_address_is_refused_before_anything_is_sent():
    async with serving(answering("200 OK")) as server:
        told = await failure(item(server.url), Egress())
        assert server.connections == 0

    assert (told.problem.code, told.sent) == ("forbidden", False)


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"secret": "crm", "tenant": "globex"}, "unauthorized"),
        ({"secret": "other"}, "unauthorized"),
        ({"headers": {"x": "a\r\nb: c"}}, "validation"),
    ],
)
async def test_what_must_not_be_sent_is_not(given: dict[str, Any], code: str):
    async with serving(answering("200 OK")) as server:
        told = await failure(item(server.url, **given))
        assert server.asked == []

    assert (told.problem.code, told.sent) == (code, False)


async def test_a_secret_goes_to_no_host_that_is_not_its():
    told = await failure(item("http://localhost:1/", secret="crm"))
    assert (told.problem.code, told.problem.field, told.sent) == ("forbidden", "secret", False)


async def test_nobody_there_is_not_sent():
    async with serving(answering("200 OK")) as server:
        url = server.url
    told = await failure(item(url))
    assert (told.problem.code, told.problem.retryable, told.sent) == ("unavailable", True, False)


async def silent(_: Asked) -> None:
    await anyio.sleep_forever()


async def cut(asked: Asked) -> None:
    asked.cut()


async def half(asked: Asked) -> None:
    await asked.send(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
    asked.cut()


@pytest.mark.parametrize("play", [silent, cut, half])
@pytest.mark.parametrize(("method", "code"), [("POST", "outcome_unknown"), ("PUT", None)])
async def test_what_was_sent_and_not_answered_is_unknown_where_it_may_happen_once(
    play: Play, method: str, code: str | None
):
    async with serving(play) as server:
        told = await failure(item(server.url, method=method, seconds=0.3))

    assert told.sent
    expected = code or ("timeout" if play is silent else "provider_error")
    assert (told.problem.code, told.problem.retryable) == (expected, code is None)


async def test_a_time_that_is_over_before_sends_nothing():
    async with serving(answering("200 OK")) as server:
        told = await failure(item(server.url, seconds=-1))
        assert server.asked == []

    assert (told.problem.code, told.sent) == ("timeout", False)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (b"x" * (MOST_TOLD_BYTES + 1), ()),
        (b"\x01" * MOST_TOLD_BYTES, ()),
        (b'["' + b"y" * MOST_TOLD_BYTES + b'"]', (JSON,)),
        (gzip.compress(b"z" * (MOST_TOLD_BYTES + 9)), ("content-encoding: gzip",)),
    ],
)
async def test_a_huge_body_is_cut_off_and_marked(body: bytes, headers: tuple[str, ...]):
    async with serving(answering("200 OK", body, *headers)) as server:
        result = await done(item(server.url))

    assert isinstance(result, HttpDone)
    assert result.outcome.truncated
    assert MOST_TOLD_BYTES // 2 < len(bytes(result.outcome.value)) <= MOST_TOLD_BYTES


@pytest.mark.parametrize(
    "body", [b"{", b"[" * 100 + b"]" * 100, b"\xff\xfe", b"99999999999999999999999"]
)
async def test_json_that_is_none_or_breaks_a_bound_is_a_text(body: bytes):
    async with serving(answering("200 OK", body, JSON)) as server:
        assert await value(item(server.url)) == {
            "status": 200,
            "body": body.decode(errors="replace"),
        }


async def test_called_off_says_whether_it_was_sent():
    reached = anyio.Event()

    async def play(_: Asked) -> None:
        reached.set()
        await anyio.sleep_forever()

    async with serving(play) as server, HttpClient(HERE, LIMITS) as client:
        http, wanted = caller(client), item(server.url)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(http.do_request, wanted)
            await reached.wait()
            tasks.cancel_scope.cancel()

        assert http.stopped(wanted).sent
        assert not http.stopped(wanted).sent


@pytest.mark.parametrize(
    ("url", "lane"),
    [("https://API.example.com:8/x", "api.example.com"), ("http://[::1/", ""), ("http:///", "")],
)
def test_the_lane_is_the_host(url: str, lane: str):
    assert lane_of(url) == lane

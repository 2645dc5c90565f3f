"""What the running task works for."""

import anyio
import pytest

from bus.telemetry.context import Context, accept, bound, current, from_headers, into_headers
from bus.telemetry.traces import handling

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_fields_are_added_inside_and_taken_back_outside():
    with bound(tenant="acme"), bound(execution_id="e1"):
        assert current() == Context({"tenant": "acme", "execution_id": "e1"}, None)
    assert current() == Context({}, None)


def test_fields_are_taken_back_when_the_work_fails():
    with pytest.raises(ValueError, match="broken"), bound(tenant="acme"):
        raise ValueError("broken")
    assert current() == Context({}, None)


async def test_tasks_do_not_see_each_others_fields():
    seen: list[Context] = []

    async def work(tenant: str):
        with bound(tenant=tenant):
            await anyio.lowlevel.checkpoint()
            seen.append(current())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work, "a")
        tasks.start_soon(work, "b")
    assert seen == [Context({"tenant": "a"}, None), Context({"tenant": "b"}, None)]


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "garbage",
        TRACE.upper(),
        TRACE + "\n",
        TRACE + "-extra",
        TRACE.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_a_malformed_traceparent_is_no_trace(value: str | None):
    assert accept(value) is None


def test_a_trace_goes_through_headers_and_back():
    with handling("execute", "cb.{tenant}.agents.execute", parent=TRACE):
        headers = into_headers({"ce-id": "1"})
    assert headers == {"ce-id": "1", "traceparent": TRACE}
    assert from_headers(headers) == TRACE


def test_without_a_trace_no_header_is_added():
    assert into_headers() is None
    assert into_headers({"ce-id": "1"}) == {"ce-id": "1"}
    assert from_headers(None) is None
    assert from_headers({}) is None

"""The provider's ledger as a judge: it finds what it is there to find."""

from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from schemas.executions import ExecutionRecord
from tests.chaos.calls import Calls
from tests.chaos.faults import Woken
from tests.chaos.history import Past
from tests.chaos.provider import TASK, Begun, Call, Ended, read_calls, running_provider

DAY = datetime(2026, 1, 1, tzinfo=UTC)
FINISHED_AT = 100.0
AWAKE = Woken(FINISHED_AT + 0.5, "streaming stopped")


def record_of(output: str) -> ExecutionRecord:
    return ExecutionRecord(
        execution_id="e",
        status="COMPLETED",
        task="Say it.",
        revision=1,
        digest="",
        stream="cb.local.stream.e",
        created_at=DAY,
        deadline=DAY,
        max_attempts=3,
        output=output,
    )


def call(number: int, at: float) -> Call:
    return Call(Begun(number, "e", at, f"answer {number}"), Ended(number, at + 1, whole=True))


def judged(*calls: Call, attempts: int, output: str, late_attempts: int = 0) -> Calls:
    past = Past(attempts=attempts, late_attempts=late_attempts, finished_at=FINISHED_AT)
    found = Calls()
    found.judge(record_of(output), past, calls, [AWAKE])
    return found


def test_a_step_that_is_asked_for_again_while_it_is_in_flight_is_counted_and_not_wrong():
    found = judged(call(1, 90), call(2, 98), attempts=2, output="answer 2")

    assert found == Calls(executions=1, made=2, heard_out=2, again=1)


@pytest.mark.parametrize(
    ("calls", "attempts", "late_attempts", "output", "wrong"),
    [
        ([call(1, 90), call(2, 100.1)], 2, 0, "answer 1", "run again 1 times"),
        ([call(1, 90), call(2, 105)], 2, 0, "answer 1", "run again 1 times"),
        ([call(1, 90)], 2, 1, "answer 1", "run again 0 times"),
        ([call(1, 90), call(2, 95)], 1, 0, "answer 2", "2 calls for 1 attempts"),
        ([call(1, 90)], 1, 0, "answer 7", "its answer is none of the 1 that were given"),
        ([], 1, 0, "answer 1", "its answer is none of the 0 that were given"),
    ],
)
def test_a_finished_step_that_is_run_again_is_found_and_so_is_an_answer_that_nobody_gave(
    calls: list[Call], attempts: int, late_attempts: int, output: str, wrong: str
):
    found = judged(*calls, attempts=attempts, output=output, late_attempts=late_attempts)

    assert [line for line in found.wrong if wrong in line]


def test_a_call_by_a_process_that_stood_still_before_the_answer_is_told_and_not_wrong():
    found = judged(call(1, 90), call(2, 100.7), attempts=2, output="answer 1")

    assert (found.wrong, len(found.late), found.again) == ([], 1, 0)


async def test_the_provider_writes_down_who_was_asked_for_and_what_was_answered(tmp_path: Path):
    file = tmp_path / "calls.jsonl"
    async with running_provider(file) as url, httpx.AsyncClient() as client:
        body = {"messages": [{"role": "user", "content": TASK.format("written-1")}]}
        answers = [
            (await client.post(f"{url}/chat/completions", json=body, timeout=30)).text
            for _ in range(2)
        ]

    calls = read_calls(file)["written-1"]
    assert [call.whole for call in calls] == [True, True]
    assert [call.begun.number for call in calls] == [1, 2]
    assert all(text.endswith("data: [DONE]\n\n") for text in answers)
    assert calls[0].begun.text != calls[1].begun.text

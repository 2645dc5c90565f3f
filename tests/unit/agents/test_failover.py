"""What the owner does when an attempt could go on elsewhere, and what is kept of the way."""

import msgspec

from actors.agents.core.decisions import decide
from actors.agents.core.execution import evolve
from actors.agents.core.outward import announce, record
from actors.agents.core.restoring import restore
from actors.agents.core.state import Execution
from actors.agents.core.work_items import outstanding_work
from schemas.decision import Publish
from schemas.events import SafetyBlockedEvent, SafetyFlaggedEvent
from schemas.lifecycle import (
    Accept,
    AttemptFailed,
    AttemptStarted,
    Cancel,
    Deltas,
    ExecutionCommand,
    ExecutionFailed,
    FailGeneration,
    FinishGeneration,
    GenerateWork,
    Origin,
    Tick,
)
from schemas.llm import Answer, ChatMessage, GenerateRequest
from schemas.policy import Choice, Detour, Fallback, Policy
from schemas.problems import Problem
from schemas.providers import Groq, OpenAI
from schemas.safety import Finding
from schemas.streams import AttemptRestarted, Completed
from schemas.usage import Usage
from tests.unit.agents.samples import NOW, later

BROKEN = Problem(code="provider_error", message="broken", retryable=True)
POLICY = Policy(fallbacks=[Fallback(provider=Groq(model="llama"))])
CHOICE = Choice(rule="r", field="model", value="gpt-4o", reason="always")
DETOUR = Detour(
    attempt=1,
    place=0,
    provider="openai",
    model="gpt-4o",
    problem="provider_error",
    usage=Usage(output=3, quality="estimated"),
)


def accepted(max_attempts: int = 3) -> Execution:
    origin = Origin(
        tenant="acme",
        execution_id="e1",
        task="Hello",
        digest="d",
        max_attempts=max_attempts,
        choices=[CHOICE],
    )
    request = GenerateRequest(
        provider=OpenAI(model="gpt-4o"), messages=[ChatMessage(role="user", content="Hello")]
    )
    command = Accept(origin=origin, request=request, timeout_seconds=60, policy=POLICY)
    return taken(None, command)[0]


def taken(state: Execution | None, command: ExecutionCommand) -> tuple[Execution, list[Publish]]:
    published: list[Publish] = []
    for event in decide(state, command, NOW).events:
        before, state = state, evolve(state, event)
        published += announce(before, event, state)
    assert state is not None
    return state, published


def cut(attempt: int, next_place: int | None = 1, problem: Problem = BROKEN) -> FailGeneration:
    return FailGeneration(
        work="1",
        attempt=attempt,
        problem=problem,
        deltas=Deltas(count=2, sha256=""),
        started_at=NOW,
        usage=DETOUR.usage,
        next_place=next_place,
        detours=[DETOUR],
    )


def finish(attempt: int, place: int = 0, **more: object) -> FinishGeneration:
    answer = Answer(text="Hi", finish_reason="stop", usage=Usage(output=1), model_served="m-1")
    return FinishGeneration(
        work="1",
        attempt=attempt,
        answer=answer,
        deltas=Deltas(count=1, sha256=""),
        started_at=NOW,
        place=place,
        **more,  # pyright: ignore[reportArgumentType]
    )


def test_an_attempt_that_was_cut_in_mid_answer_goes_on_elsewhere_at_once():
    state = accepted()

    failed, started = decide(state, cut(1), NOW).events

    assert isinstance(failed, AttemptFailed)
    assert failed.retry_at == NOW
    assert started == AttemptStarted(
        work="1",
        attempt=2,
        segment=3,
        at=NOW,
        reason="provider_error",
        dropped_segment=1,
        notice_segment=2,
        place=1,
    )


def test_readers_are_told_to_drop_what_they_have_and_the_new_work_begins_elsewhere():
    state, published = taken(accepted(), cut(1))

    assert [type(each.body) for each in published] == [AttemptRestarted]
    (item,) = outstanding_work(state)
    assert isinstance(item.body, GenerateWork)
    assert item.body.place == 1
    assert state.current is not None
    assert state.current.failures == 1


def test_going_on_elsewhere_spends_attempts():
    state = accepted(max_attempts=1)

    failed, ended = decide(state, cut(1), NOW).events

    assert isinstance(failed, AttemptFailed)
    assert ended == ExecutionFailed(segment=2, at=NOW, problem=BROKEN)


def test_even_what_no_waiting_cures_may_be_cured_elsewhere():
    hopeless = Problem(code="provider_error", message="too large")

    state, _ = taken(accepted(), cut(1, problem=hopeless))

    assert (state.phase, state.place) == ("generating", 1)


def test_an_attempt_after_a_wait_begins_with_the_agents_own_provider_again():
    state, _ = taken(accepted(), cut(1))
    state, _ = taken(state, cut(2, next_place=None))

    assert state.attempts.due() is not None
    again = decide(state, Tick(), later(10)).events
    assert [event.place for event in again] == [0]


def test_the_record_tells_the_whole_way_and_is_read_back():
    state, _ = taken(accepted(), cut(1))
    second = msgspec.structs.replace(DETOUR, attempt=2, key="a", problem="rate_limited", usage=None)
    state, published = taken(state, finish(2, place=1, detours=[second]))
    stored = record(state)

    assert (stored.provider, stored.model) == ("groq", "llama")
    assert stored.choices == [CHOICE]
    assert stored.detours == [DETOUR, second]
    assert stored.usage == Usage(output=4, quality="estimated")
    assert restore("acme", stored) is not None
    assert record(restore("acme", stored) or state) == stored
    assert isinstance(published[0].body, Completed)
    assert published[0].body.model_served == "m-1"


def test_what_failed_calls_have_used_is_counted_with_the_answer():
    state, _ = taken(accepted(), finish(1, detours=[DETOUR]))

    assert state.usage == Usage(output=4, quality="estimated")


def test_a_late_answer_counts_its_failed_calls_as_well():
    state, _ = taken(accepted(), Cancel(reason=""))
    state, _ = taken(state, finish(1, detours=[DETOUR]))

    assert state.usage == Usage(output=4, quality="estimated")


def test_findings_are_told_by_their_outcome_and_added_up():
    flagged = Finding(rule="names", outcome="flagged", place="output", count=2)
    blocked = Finding(rule="bomb", outcome="blocked", place="output")
    failed = msgspec.structs.replace(cut(1), findings=[flagged])
    state, first = taken(accepted(), failed)
    state, second = taken(state, finish(2, findings=[flagged, blocked]))

    told = [each for each in (*first, *second) if "safety" in each.subject]
    assert [each.subject for each in told] == [
        "cb.acme.events.safety.flagged.e1",
        "cb.acme.events.safety.blocked.e1",
        "cb.acme.events.safety.flagged.e1",
    ]
    assert told[1].body == SafetyBlockedEvent(
        execution_id="e1", at=NOW, attempt=2, findings=[blocked]
    )
    assert isinstance(told[2].body, SafetyFlaggedEvent)
    assert record(state).findings == [msgspec.structs.replace(flagged, count=4), blocked]

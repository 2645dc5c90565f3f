"""Large requests leave commands, events and states; what users see of them stays as it was."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core.decisions import decide
from actors.agents.core.execution import evolve
from actors.agents.core.outward import record, stored_record
from actors.agents.core.prompts import bodies, filled, is_large, prompt_of, referring, task_of
from actors.agents.core.work_items import outstanding_work
from bus.codec import decode, encode
from schemas.bodies import BY_REFERENCE_BYTES, REPEATED_BYTES, BodyReference
from schemas.conversations import ConversationTurn
from schemas.executions import ExecutionRecord
from schemas.lifecycle import Accept, GenerateWork, Look, Looked, Origin, Prompt
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.policy import Fallback, Policy
from schemas.providers import OpenAI, Scripted
from tests.unit.agents.runs import Run, finish
from tests.unit.agents.samples import NOW

TASK = "Tell me of the sea. " * 2500
REFERENCE = BodyReference(name="body.execution.1.acme.e1.abc", digest="abc", bytes=60_000)
LONG = "x" * 9000
POLICY = Policy(
    fallbacks=[Fallback(provider=OpenAI(model="m"), config=ModelConfig(stop_sequences=[LONG]))]
)


def asked(
    task: str, said: str, *, policy: Policy | None = None, session: str | None = None
) -> Accept:
    origin = Origin(
        tenant="acme",
        execution_id="e1",
        agent_id="reader",
        task=task,
        digest="d",
        max_attempts=3,
        session=session,
    )
    request = GenerateRequest(
        provider=Scripted(responses=["Hi."]), messages=[ChatMessage(role="user", content=said)]
    )
    return Accept(
        origin=origin, request=request, timeout_seconds=60, policy=policy or Policy(rules=[])
    )


def taken(wanted: Accept) -> Run:
    run = Run()
    run.take(referring(wanted, REFERENCE))
    return run


@pytest.mark.parametrize(
    ("size", "session", "large"),
    [
        (BY_REFERENCE_BYTES, None, False),
        (BY_REFERENCE_BYTES + 1, None, True),
        (REPEATED_BYTES, "s1", False),
        (REPEATED_BYTES + 1, "s1", True),
    ],
)
def test_a_request_goes_by_reference_above_its_bound(size: int, session: str | None, large: bool):
    assert is_large(asked("t", "t", session=session), size) is large


def test_neither_events_nor_state_nor_work_hold_what_is_stored_apart():
    wanted = asked(TASK, TASK, policy=POLICY, session="s1")
    run = taken(wanted)
    (item,) = outstanding_work(run.execution)
    work = item.body

    assert len(encode(run.events)) < 2000
    assert len(encode(run.execution)) < 2000
    assert isinstance(work, GenerateWork)
    assert len(encode(work)) < 1000
    assert work.prompt == REFERENCE
    assert bodies(run.execution) == (REFERENCE,)


TEXTS = st.text(alphabet="ab ", max_size=600)


@given(TEXTS, TEXTS, TEXTS, st.booleans())
def test_the_task_is_shown_wherever_it_stands(before: str, task: str, after: str, changed: bool):
    said = f"{before}{task[1:] if changed else task}{after}"
    wanted = asked(task, said)
    prompt = decode(Prompt, encode(prompt_of(wanted)))
    short = referring(wanted, REFERENCE)

    state = taken(wanted).execution
    told = stored_record(state)

    assert prompt.request == wanted.request
    assert (short.origin.task or task_of(prompt)) == task
    whole = told.body if told.lacks is None else filled(told.body, encode(prompt), None)
    usual = evolve(None, decide(None, wanted, NOW).events[0])
    plain = record(evolve(usual, decide(None, wanted, NOW).events[1]))
    assert isinstance(whole, ExecutionRecord)
    assert whole == msgspec.structs.replace(plain, revision=whole.revision)


def test_the_conversation_gets_the_task_and_its_record_too_after_the_prompt_is_gone():
    wanted = asked(TASK, f"Please: {TASK}", session="s1")
    prompt = encode(prompt_of(wanted))
    run = taken(wanted)
    run.take(finish(1))

    (turn,) = [each for each in run.published if isinstance(each.body, ConversationTurn)]
    told = stored_record(run.execution)
    assert (turn.lacks, told.lacks) == (REFERENCE, REFERENCE)
    said = filled(turn.body, prompt, None)
    assert isinstance(said, ConversationTurn)
    assert said.user == TASK
    first = filled(told.body, prompt, None)
    assert isinstance(first, ExecutionRecord)
    assert first.task == TASK
    assert filled(told.body, None, encode(first)) == first
    # Neither is left: the turn was published before, and of the record the rest is stored.
    assert filled(turn.body, None, None) is None
    assert filled(told.body, None, None) == told.body


def test_who_looks_is_told_where_the_task_is():
    run = taken(asked(TASK, TASK))
    looked = run.take(Look()).reply

    assert isinstance(looked, Looked)
    assert (looked.prompt, looked.record.task) == (REFERENCE, "")


def test_a_fallback_is_named_though_its_settings_are_stored_apart():
    run = taken(asked(TASK, TASK, policy=POLICY))
    run.take(msgspec.structs.replace(finish(1), place=1))

    assert (record(run.execution).provider, record(run.execution).model) == ("openai", "m")

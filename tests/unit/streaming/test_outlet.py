"""What goes out of an attempt: screened, joined, and the same however the stream was cut."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.safety.effort import Effort
from actors.streaming.core.safety.intake import TakenText, take_in
from actors.streaming.core.safety.outlet import Outlet, blocked_by
from actors.streaming.core.safety.rules import RuleLibrary, compile_rules
from schemas.llm import Answer, ChatMessage, GenerateRequest, TextPart, ToolCall
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.safety import Finding, SafetyRule
from schemas.steps import Steps, at_once
from schemas.usage import Usage

CARD = SafetyRule(name="card", outcome="redacted", patterns=[r"\d{4}"], replacement="#")
BOMB = SafetyRule(name="bomb", outcome="blocked", words=["bomb"])
RULES = at_once(compile_rules([CARD, BOMB], "output"))
ANSWER = Answer(text="raw", finish_reason="stop", usage=Usage(output=1))


def call(arguments: str) -> ToolCall:
    return ToolCall(id="c", name="n", arguments=arguments)


def taken(outlet: Outlet, deltas: list[Delta]) -> list[Delta]:
    passed: list[Delta] | Steps[list[Delta]] = outlet.take(deltas)
    return passed if isinstance(passed, list) else at_once(passed)


def searched(request: GenerateRequest, rule: SafetyRule) -> TakenText:
    return at_once(take_in(request, at_once(compile_rules([rule], "input")), Effort()))


def passed(outlet: Outlet, deltas: Sequence[Delta]) -> list[Delta]:
    outlet.begin()
    out = [one for delta in deltas for one in taken(outlet, [delta])]
    return out + (outlet.finish() if outlet.blocked is None else [])


def test_without_rules_deltas_pass_as_they_are():
    outlet = Outlet()
    deltas: list[Delta] = [TextDelta("1234"), call("{}")]
    outlet.begin()

    assert outlet.take(deltas) is deltas
    assert outlet.published
    assert outlet.answer(ANSWER) is ANSWER


def test_the_answer_is_what_has_gone_out():
    outlet = Outlet(RULES)

    out = passed(outlet, [ReasoningDelta("It is 12"), ReasoningDelta("34"), TextDelta("5678!")])

    assert "".join(d.text for d in out if isinstance(d, TextDelta)) == "#!"
    assert outlet.answer(ANSWER) == msgspec.structs.replace(
        ANSWER, text="#!", reasoning="It is #", tool_calls=[]
    )
    assert outlet.findings() == [Finding(rule="card", outcome="redacted", place="output", count=2)]


def test_the_arguments_of_tools_are_searched_whole():
    outlet = Outlet(RULES)

    assert passed(outlet, [TextDelta("a "), call('{"n":"1234"}')])[-1] == call('{"n":"#"}')
    assert outlet.answer(ANSWER).tool_calls == [call('{"n":"#"}')]


def test_a_blocked_call_of_a_tool_does_not_go_out():
    outlet = Outlet(RULES)

    assert passed(outlet, [call('{"n":"bomb"}')]) == []
    assert outlet.blocked == BOMB
    assert not outlet.published


def test_what_one_call_held_back_is_forgotten_when_another_begins():
    outlet = Outlet(RULES, continued=True)
    outlet.begin()
    outlet.take([TextDelta("It is 12")])

    assert outlet.beginning.text == "It is "
    assert passed(outlet, [TextDelta(" 1234.")]) == [TextDelta("#.")]
    assert outlet.answer(ANSWER).text == "It is #."


def test_an_answer_in_parts_is_joined():
    outlet = Outlet(continued=True)
    passed(outlet, [TextDelta("Once upon ")])
    passed(outlet, [TextDelta(" a"), TextDelta(" time.")])

    assert outlet.answer(ANSWER).text == "Once upon a time."


PIECES = st.lists(
    st.one_of(
        st.builds(TextDelta, st.text("12 bom", min_size=1, max_size=6)),
        st.builds(ReasoningDelta, st.text("12 bom", min_size=1, max_size=6)),
    ),
    max_size=10,
)


@given(PIECES)
def test_any_cut_of_the_stream_gives_the_same_answer_and_findings(deltas: list[Delta]):
    single: list[Delta] = [
        type(delta)(character)
        for delta in deltas
        if not isinstance(delta, ToolCall)
        for character in delta.text
    ]
    whole, each = Outlet(RULES), Outlet(RULES)
    passed(whole, deltas)
    passed(each, single)

    assert whole.answer(ANSWER) == each.answer(ANSWER)
    assert whole.findings() == each.findings()
    assert whole.blocked == each.blocked


def test_only_what_users_and_tools_say_is_searched_on_the_way_in():
    said = [
        ChatMessage(role="system", content="1234"),
        ChatMessage(role="user", content=[TextPart(text="my 1234")]),
        ChatMessage(role="assistant", content="1234"),
        ChatMessage(role="tool", content="5678", tool_call_id="c"),
    ]
    found = searched(GenerateRequest(provider=OpenAI(model="m"), messages=said), CARD)

    assert [message.text for message in found.request.messages] == ["1234", "my #", "1234", "#"]
    assert [finding.count for finding in found.findings] == [1, 1]
    assert found.blocked is None


def test_a_forbidden_input_is_blocked():
    said = [ChatMessage(role="user", content="a bomb")]
    request = GenerateRequest(provider=OpenAI(model="m"), messages=said)

    assert searched(request, BOMB).blocked == BOMB
    assert blocked_by("bomb", "input") == Problem(
        code="blocked",
        message="The input was blocked by the safety rule bomb.",
        details={"rule": "bomb", "place": "input"},
    )


def test_compiled_rules_are_kept_for_the_next_attempt():
    library = RuleLibrary()

    kept = at_once(library.of([CARD], "input"))
    assert at_once(library.of([CARD], "input")) is kept
    assert at_once(library.of([CARD], "output")) is not kept

"""What goes out of an attempt: screened, joined, and the same however the stream was cut."""

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.streaming.core.deltas import Delta, ReasoningDelta, TextDelta
from actors.streaming.core.outlet import Outlet, blocked_by
from actors.streaming.core.safety.intake import take_in
from actors.streaming.core.safety.screen import RuleLibrary, compile_rules
from schemas.llm import Answer, ChatMessage, GenerateRequest, TextPart, ToolCall
from schemas.problems import Problem
from schemas.providers import OpenAI
from schemas.safety import Finding, SafetyRule
from schemas.usage import Usage

CARD = SafetyRule(name="card", outcome="redacted", patterns=[r"\d{4}"], replacement="#")
BOMB = SafetyRule(name="bomb", outcome="blocked", words=["bomb"])
RULES = compile_rules([CARD, BOMB], "output")
ANSWER = Answer(text="raw", finish_reason="stop", usage=Usage(output=1))


def call(arguments: str) -> ToolCall:
    return ToolCall(id="c", name="n", arguments=arguments)


def passed(outlet: Outlet, deltas: Sequence[Delta]) -> list[Delta]:
    outlet.begin()
    out = [one for delta in deltas for one in outlet.take([delta])]
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
    taken = take_in(
        GenerateRequest(provider=OpenAI(model="m"), messages=said), compile_rules([CARD], "input")
    )

    assert [message.text for message in taken.request.messages] == ["1234", "my #", "1234", "#"]
    assert [finding.count for finding in taken.findings] == [1, 1]
    assert taken.blocked is None


def test_a_forbidden_input_is_blocked():
    said = [ChatMessage(role="user", content="a bomb")]
    request = GenerateRequest(provider=OpenAI(model="m"), messages=said)

    assert take_in(request, compile_rules([BOMB], "input")).blocked == BOMB
    assert blocked_by("bomb", "input") == Problem(
        code="blocked",
        message="The input was blocked by the safety rule bomb.",
        details={"rule": "bomb", "place": "input"},
    )


def test_compiled_rules_are_kept_for_the_next_attempt():
    library = RuleLibrary()

    assert library.of([CARD], "input") is library.of([CARD], "input")
    assert library.of([CARD], "output") is not library.of([CARD], "input")

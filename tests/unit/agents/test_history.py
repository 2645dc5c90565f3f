import msgspec
from hypothesis import given
from hypothesis import strategies as st

from actors.agents.core import history, tokens
from schemas.agents import Memory
from schemas.conversations import ConversationTurn
from schemas.llm import ChatMessage, ToolCall
from tests.unit.agents.samples import turn

TURNS = st.lists(
    st.builds(turn, st.integers(0, 30), user=st.text(max_size=60), assistant=st.text(max_size=60)),
    max_size=20,
)
MEMORIES = st.builds(
    Memory,
    strategy=st.sampled_from(["last_n", "sliding_window"]),
    max_history=st.integers(0, 30),
    context_window=st.integers(1, 200),
)


def _tokens(turns: list[ConversationTurn]) -> int:
    return sum(tokens.estimate_message(message.text) for message in history.messages(turns))


def test_a_turn_stored_twice_counts_once_in_its_first_place():
    again = turn(1, assistant="a repeat")

    assert history.unique([turn(1), turn(2), again]) == [turn(1), turn(2)]


def test_last_n_keeps_the_newest_messages_in_whole_turns():
    memory = Memory(strategy="last_n", max_history=5, context_window=1)

    kept = history.window([turn(1), turn(2), turn(3)], memory, "a task")

    assert kept == [turn(2), turn(3)]


def test_no_history_is_kept_where_none_is_wanted():
    assert history.window([turn(1)], Memory(max_history=0), "a task") == []
    assert history.window([turn(1)], Memory(max_history=1), "a task") == []


def test_the_sliding_window_drops_whole_turns_from_the_oldest_on():
    turns = [turn(number, user="u" * 40, assistant="a" * 40) for number in range(5)]
    memory = Memory(max_history=100, context_window=14 + 2 * 28 + 27)

    assert history.window(turns, memory, "t" * 40) == turns[3:]


def test_the_sliding_window_ends_at_the_first_turn_that_does_not_fit():
    turns = [turn(1), turn(2, user="u" * 4000), turn(3)]

    assert history.window(turns, Memory(context_window=500), "a task") == [turn(3)]


def test_a_task_larger_than_the_window_goes_in_without_history():
    assert history.window([turn(1)], Memory(context_window=10), "t" * 4000) == []


def test_turns_become_alternating_messages():
    assert history.messages([turn(1), turn(2)]) == [
        ChatMessage(role="user", content="question 1"),
        ChatMessage(role="assistant", content="answer 1"),
        ChatMessage(role="user", content="question 2"),
        ChatMessage(role="assistant", content="answer 2"),
    ]


@given(TURNS, MEMORIES, st.text(max_size=60))
def test_the_window_is_the_newest_end_of_the_conversation(
    turns: list[ConversationTurn], memory: Memory, message: str
):
    kept = history.window(turns, memory, message)
    stored = history.unique(turns)

    assert kept == stored[len(stored) - len(kept) :]


@given(TURNS, MEMORIES, st.text(max_size=60))
def test_the_window_keeps_its_bounds(turns: list[ConversationTurn], memory: Memory, message: str):
    kept = history.window(turns, memory, message)

    assert 2 * len(kept) <= memory.max_history
    if memory.strategy == "sliding_window" and kept:
        assert _tokens(kept) + tokens.estimate_message(message) <= memory.context_window


@given(TURNS, MEMORIES, st.text(max_size=60))
def test_a_wider_window_keeps_at_least_as_much(
    turns: list[ConversationTurn], memory: Memory, message: str
):
    wider = Memory(
        strategy=memory.strategy,
        max_history=memory.max_history + 2,
        context_window=memory.context_window + 50,
    )

    narrow = history.window(turns, memory, message)
    wide = history.window(turns, wider, message)

    assert len(wide) >= len(narrow)


def test_calls_of_tools_stand_between_and_go_first_where_there_is_no_room():
    calls = [ToolCall(id="c1", name="find", arguments="{}")]
    between = [
        ChatMessage(role="assistant", content="", tool_calls=calls),
        ChatMessage(role="tool", content="word " * 4000, tool_call_id="c1"),
    ]
    called = msgspec.structs.replace(turn(1), messages=between)

    assert history.messages([called])[1:3] == between
    (kept,) = history.window([called], Memory(context_window=1000), "hi")
    assert kept == turn(1)
    assert history.window([called], Memory(context_window=100_000), "hi") == [called]

"""Who waits for another entity is told of its end once, by callback or by its own slow look."""

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import callbacks
from schemas.callbacks import (
    LOOK,
    Ended,
    Inquire,
    Noted,
    WaitAnswered,
    WaitBegun,
    WaitEvent,
    WaitOver,
    Waits,
)
from schemas.decision import Ask, Decision
from schemas.problems import Problem
from schemas.work import Claim, ReplyTo

NOW = datetime(2026, 12, 1, tzinfo=UTC)
CHILDREN = tuple(ReplyTo(entity="execution", tenant="acme", key=f"e{n}") for n in range(3))
LATER = Problem(code="unavailable", message="later", retryable=True)
GONE = Problem(code="not_found", message="there is none")


def end(child: ReplyTo, status: str = "COMPLETED") -> Ended:
    return Ended(of=child, status=status, at=NOW)


def asked(state: Waits) -> list[Ask]:
    return list(callbacks.asks(state, lambda _: Claim(work="start", attempt=1)))


def grown(state: Waits, *events: WaitEvent) -> Waits:
    for event in events:
        state = state.apply(event)
    return state


def taken(state: Waits, command: Ended | WaitAnswered, now: datetime = NOW) -> Waits:
    return grown(state, *callbacks.decide(state, command, now).events)


def waiting() -> Waits:
    """Return a wait for one child, which has accepted."""
    state = grown(Waits(), WaitBegun(of=CHILDREN[0], at=NOW))
    return taken(state, callbacks.notification(asked(state)[0], None))


steps = st.lists(
    st.tuples(
        st.sampled_from(("ends", "looks", "accepted", "pending", "ended", "later", "gone")),
        st.integers(0, 2),
        st.integers(0, 3000),
    ),
    max_size=25,
)


@settings(max_examples=80)
@given(steps)
def test_each_end_is_taken_once_whatever_is_said_in_whatever_order(
    told: list[tuple[str, int, int]],
):
    state = grown(Waits(), *(WaitBegun(of=child, at=NOW) for child in CHILDREN))
    over: list[ReplyTo] = []
    answers = {"pending": None, "accepted": None, "later": LATER, "gone": GONE}
    now = NOW
    for what, place, seconds in told:
        child, now = CHILDREN[place], now + timedelta(seconds=seconds)
        if what == "ends":
            decision = callbacks.decide(state, end(child), now)
            assert decision.reply == Noted(fresh=child not in over)
        elif what == "looks":
            decision = Decision(callbacks.look(state, now))
        else:
            asks = [ask for ask in asked(state) if ask.key == child.key]
            answer = end(child) if what == "ended" else answers[what]
            answers_given = [callbacks.notification(ask, answer) for ask in asks]
            found = [callbacks.decide(state, each, now) for each in answers_given]
            decision = found[0] if found else Decision()
        over += [event.of for event in decision.events if isinstance(event, WaitOver)]
        state = grown(state, *decision.events)

    assert len(set(map(callbacks.name_of, over))) == len(over)
    for child in CHILDREN:
        assert (state.of(child) is None) == (child in over)
    looked_for = [wait.look_at for page in state.known for wait in page.values() if wait.look_at]
    assert state.due() == min(looked_for, default=None)


def test_what_an_item_begins_is_asked_nothing_before_it_stands():
    state = grown(Waits(), WaitBegun(of=CHILDREN[0], at=NOW, by_item=True))
    assert (asked(state), state.due()) == ([], None)

    stands = grown(state, *callbacks.begun(state, CHILDREN[0], NOW))
    assert (asked(stands), stands.due()) == ([], NOW + LOOK)
    assert callbacks.begun(stands, CHILDREN[0], NOW + LOOK) == ()


def test_an_end_that_comes_before_the_word_of_the_beginning_counts_and_so_does_a_refusal():
    state = grown(Waits(), WaitBegun(of=CHILDREN[0], at=NOW, by_item=True))
    ended = taken(state, end(CHILDREN[0]))
    assert ended.of(CHILDREN[0]) is None
    assert callbacks.begun(ended, CHILDREN[0], NOW) == ()
    assert callbacks.unbegun(ended, CHILDREN[0], GONE, NOW) == ()

    (over,) = callbacks.unbegun(state, CHILDREN[0], GONE, NOW)
    assert (over.end.status, over.end.problem) == ("FAILED", GONE)


def test_who_waits_has_nothing_open_until_the_slow_look():
    state = waiting()

    assert asked(state) == []
    assert state.due() == NOW + LOOK
    assert callbacks.look(state, NOW + LOOK - timedelta(seconds=1)) == ()
    looking = grown(state, *callbacks.look(state, NOW + LOOK))
    assert [ask.command for ask in asked(looking)] == [Inquire()]
    assert looking.due() is None


def test_what_a_slow_look_finds_pending_is_waited_for_again_and_asked_under_another_name():
    looking = grown(waiting(), *callbacks.look(waiting(), NOW + LOOK))
    (first,) = asked(looking)
    again = taken(looking, callbacks.notification(first, None), NOW + LOOK)
    (second,) = asked(grown(again, *callbacks.look(again, NOW + 2 * LOOK)))

    assert again.due() == NOW + 2 * LOOK
    assert first.id != second.id


def test_what_was_refused_has_failed_and_what_is_put_off_is_looked_at_later():
    state = grown(Waits(), WaitBegun(of=CHILDREN[0], at=NOW))
    (start,) = asked(state)
    (over,) = callbacks.decide(state, callbacks.notification(start, GONE), NOW).events

    assert isinstance(over, WaitOver)
    assert (over.end.status, over.end.problem) == ("FAILED", GONE)
    assert taken(state, callbacks.notification(start, LATER)).due() == NOW + LOOK


def test_an_answer_to_a_question_that_is_over_changes_nothing():
    state = grown(Waits(), WaitBegun(of=CHILDREN[0], at=NOW))
    (start,) = asked(state)

    assert callbacks.decide(waiting(), callbacks.notification(start, GONE), NOW).events == ()


def test_a_callback_is_the_same_question_however_often_it_is_sent():
    to = ReplyTo(entity="parent", tenant="acme", key="p")
    first, again = (callbacks.callback(to, end(CHILDREN[0])) for _ in range(2))

    assert (first, first.entity, first.key) == (again, "parent", "p")

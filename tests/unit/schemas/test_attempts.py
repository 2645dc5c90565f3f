"""Laws of the attempts at work: whatever is said by whom, however often and late."""

from datetime import UTC, datetime, timedelta
from functools import reduce

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from schemas.attempts import (
    UNKNOWN,
    Attempt,
    Attempts,
    OutcomeLearned,
    Rules,
    WorkClaimed,
    WorkDone,
    WorkDropped,
    WorkEvent,
    WorkFailed,
    WorkPlanned,
    WorkPutOff,
    WorkStarted,
    again,
    decide,
)
from schemas.problems import Problem
from schemas.work import (
    Claim,
    Done,
    Granted,
    Lost,
    ReplyTo,
    Settled,
    Stopped,
    Superseded,
    WorkAnswer,
    WorkCommand,
    WorkFailure,
    item_id,
    item_of,
)

NOW = datetime(2026, 12, 1, tzinfo=UTC)
RULES = Rules(most=4, deadline=NOW + timedelta(hours=1), seed="e")
BUSY = Problem(code="provider_overloaded", message="later", retryable=True)
NO = Problem(code="unauthorized", message="no")
WORKS = ("plain", "once", "planned")

works = st.sampled_from(WORKS)
numbers = st.integers(1, 7)
commands: st.SearchStrategy[WorkCommand] = st.one_of(
    st.builds(Claim, work=works, attempt=numbers),
    st.builds(Lost, work=works, attempt=numbers, begun=st.booleans()),
    st.builds(Done, work=works, attempt=numbers),
    st.builds(
        WorkFailure,
        work=works,
        attempt=numbers,
        problem=st.sampled_from((BUSY, NO, UNKNOWN)),
        sent=st.booleans(),
    ),
    st.builds(Stopped, work=works, attempt=numbers, sent=st.booleans()),
)


class Entity(RuleBasedStateMachine):
    """An entity with three pieces of work; what is said of them comes twice, late and unordered."""

    def __init__(self) -> None:
        super().__init__()
        self.state = Attempts()
        self.now = NOW
        self.events: list[WorkEvent] = []
        self.said: list[WorkCommand] = []
        self.granted: list[tuple[str, int]] = []
        self._note(WorkStarted(work="plain", attempt=1, at=NOW))
        self._note(WorkStarted(work="once", attempt=1, at=NOW, once=True))
        self._note(WorkPlanned(work="planned", attempt=1, at=NOW))

    def of(self, work: str) -> Attempt:
        known = self.state.of(work)
        assert known is not None
        return known

    def _note(self, *events: WorkEvent) -> None:
        for event in events:
            before = self.state
            self.state = self.state.apply(event)
            self.events.append(event)
            _demand_growth(before, self.state, event)

    def _take(self, command: WorkCommand) -> None:
        was_current = self.state.is_current(command.work, command.attempt)
        decision = decide(self.state, command, self.now, RULES)
        reply = decision.reply
        assert isinstance(reply, WorkAnswer)
        if isinstance(reply, Granted):
            self.granted.append((command.work, command.attempt))
        if isinstance(reply, Settled):
            assert reply.accepted == bool(decision.events)
        if not was_current:
            assert all(isinstance(event, OutcomeLearned) for event in decision.events)
        self._note(*decision.events)

    @rule(command=commands)
    def say(self, command: WorkCommand) -> None:
        self.said.append(command)
        self._take(command)

    @rule(place=st.integers(0))
    def say_again(self, place: int) -> None:
        if self.said:
            self._take(self.said[place % len(self.said)])

    @rule(work=works, wanted=st.sampled_from(("claim", "sent", "not sent", "done")))
    def say_of_what_runs(self, work: str, wanted: str) -> None:
        n = self.of(work).attempt
        made: dict[str, WorkCommand] = {
            "claim": Claim(work=work, attempt=n),
            "sent": WorkFailure(work=work, attempt=n, problem=BUSY),
            "not sent": WorkFailure(work=work, attempt=n, problem=BUSY, sent=False),
            "done": Done(work=work, attempt=n),
        }
        self.say(made[wanted])

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self._note(*again(self.state, self.now))

    @rule(leave=st.booleans())
    def answer_for_leave(self, leave: bool) -> None:
        known = self.of("planned")
        if known.phase != "planned":
            return
        if leave:
            self._note(WorkStarted(work="planned", attempt=known.attempt, at=self.now))
        else:
            later = self.now + timedelta(seconds=1)
            self._note(
                WorkPutOff(work="planned", attempt=known.attempt, at=self.now, retry_at=later)
            )

    @rule(work=works)
    def drop(self, work: str) -> None:
        known = self.of(work)
        if known.phase != "ended":
            self._note(WorkDropped(work=work, attempt=known.attempt, at=self.now))

    @invariant()
    def only_one_attempt_lives(self) -> None:
        open_now = self.state.open()
        assert len({work for work, _ in open_now}) == len(open_now)
        for work, known in open_now:
            live = [n for n in range(1, 9) if self.state.is_current(work, n)]
            assert live == [known.attempt]

    @invariant()
    def the_next_moment_is_the_first_that_any_work_waits_for(self) -> None:
        moments = [self.of(work).retry_at for work in WORKS]
        assert self.state.due() == min((at for at in moments if at is not None), default=None)

    @invariant()
    def no_attempt_is_granted_twice(self) -> None:
        assert len(set(self.granted)) == len(self.granted)

    @invariant()
    def no_more_fail_than_may(self) -> None:
        assert all(known.failures <= RULES.most for known in map(self.of, WORKS))

    @invariant()
    def what_happens_once_is_not_attempted_again_after_a_claim(self) -> None:
        claimed: set[int] = set()
        for event in self.events:
            match event:
                case WorkClaimed(work="once"):
                    claimed.add(event.attempt)
                case WorkStarted(work="once"):
                    assert all(self._was_not_sent(attempt) for attempt in claimed)
                case _:
                    pass

    def _was_not_sent(self, attempt: int) -> bool:
        return any(
            isinstance(said, WorkFailure | Stopped)
            and (said.work, said.attempt, said.sent) == ("once", attempt, False)
            for said in self.said
        )

    @invariant()
    def what_is_unknown_was_claimed_or_sent(self) -> None:
        known = self.of("once")
        if known.unknown:
            told = any(
                isinstance(said, WorkFailure | Stopped) and said.work == "once" and said.sent
                for said in self.said
            )
            assert known.phase == "ended"
            assert ("once", known.attempt) in self.granted or told
        assert not self.of("plain").unknown

    @invariant()
    def replaying_the_events_gives_the_same_state(self) -> None:
        replayed = reduce(lambda state, event: state.apply(event), self.events, Attempts())
        assert replayed == self.state
        stored = msgspec.json.encode(self.state)
        read = msgspec.json.decode(stored, type=Attempts)
        assert (read, msgspec.json.encode(read)) == (self.state, stored)


def _demand_growth(before: Attempts, after: Attempts, event: WorkEvent) -> None:
    """Attempts only grow, one at a time, and what has ended stays so."""
    known, changed = before.of(event.work), after.of(event.work)
    assert changed is not None
    if known is None:
        return
    assert changed.attempt - known.attempt in (0, 1)
    assert changed.failures >= known.failures
    assert set(known.settled) <= set(changed.settled)
    if known.phase == "ended":
        assert (changed.phase, changed.attempt) == ("ended", known.attempt)


Entity.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestEntity = Entity.TestCase


# What is said one by one


def opened(*, once: bool = False, claimed: bool = False) -> Attempts:
    state = Attempts().apply(WorkStarted(work="w", attempt=1, at=NOW, once=once))
    return state.apply(WorkClaimed(work="w", attempt=1)) if claimed else state


def taken(state: Attempts, *said: WorkCommand) -> tuple[Attempts, list[WorkEvent]]:
    events: list[WorkEvent] = []
    for command in said:
        for event in decide(state, command, NOW, RULES).events:
            state = state.apply(event)
            events.append(event)
    return state, events


def of(state: Attempts) -> Attempt:
    known = state.of("w")
    assert known is not None
    return known


LOST = Lost(work="w", attempt=1, begun=True)


def test_a_lost_worker_spends_an_attempt_and_a_lost_item_does_not():
    spent, _ = taken(opened(), LOST)
    free, _ = taken(opened(), Lost(work="w", attempt=1))

    assert (of(spent).attempt, of(spent).failures) == (2, 1)
    assert (of(free).attempt, of(free).failures) == (2, 0)


@pytest.mark.parametrize("claimed", [True, False])
def test_the_outcome_of_a_lost_worker_is_unknown_only_if_it_had_claimed(claimed: bool):
    state, events = taken(opened(once=True, claimed=claimed), LOST)

    if claimed:
        assert [event.problem for event in events if isinstance(event, WorkFailed)] == [UNKNOWN]
        assert (of(state).phase, of(state).unknown) == ("ended", True)
    else:
        assert (of(state).phase, of(state).attempt) == ("running", 2)


@pytest.mark.parametrize(("told", "done"), [("done", True), ("stopped", False), ("failed", False)])
def test_what_a_worker_tells_of_an_unknown_outcome_is_learned_once(told: str, done: bool):
    said: dict[str, WorkCommand] = {
        "done": Done(work="w", attempt=1),
        "stopped": Stopped(work="w", attempt=1, sent=False),
        "failed": WorkFailure(work="w", attempt=1, problem=BUSY, sent=False),
    }
    state, _ = taken(opened(once=True, claimed=True), LOST)

    state, events = taken(state, said[told], said[told])

    assert events == [OutcomeLearned(work="w", attempt=1, at=NOW, done=done)]
    assert (of(state).phase, of(state).unknown) == ("ended", False)


def test_what_was_sent_and_failed_is_not_tried_again_where_it_may_happen_once_alone():
    sent, _ = taken(opened(once=True, claimed=True), WorkFailure(work="w", attempt=1, problem=BUSY))
    unsent, _ = taken(
        opened(once=True, claimed=True), WorkFailure(work="w", attempt=1, problem=BUSY, sent=False)
    )

    assert (of(sent).phase, of(sent).retry_at) == ("ended", None)
    assert of(unsent).phase == "waiting"


def test_what_a_worker_lets_go_of_unbegun_is_begun_anew_and_spends_nothing():
    state, _ = taken(opened(once=True, claimed=True), Stopped(work="w", attempt=1, sent=False))

    assert (of(state).phase, of(state).attempt, of(state).failures) == ("running", 2, 0)
    assert not of(state).claimed


def test_what_was_claimed_and_is_dropped_has_an_unknown_outcome():
    claimed = opened(once=True, claimed=True).drop()
    unclaimed = opened(once=True).drop()

    assert (of(claimed).unknown, of(unclaimed).unknown) == (True, False)


def test_work_that_failed_waits_for_its_moment_and_not_past_its_deadline():
    state, _ = taken(opened(), WorkFailure(work="w", attempt=1, problem=BUSY))
    retry_at = state.due()
    assert retry_at is not None
    late = Rules(most=4, deadline=NOW + timedelta(microseconds=1))
    failed = decide(opened(), WorkFailure(work="w", attempt=1, problem=BUSY), NOW, late).events

    assert again(state, retry_at - timedelta(microseconds=1)) == ()
    assert [event.attempt for event in again(state, retry_at)] == [2]
    assert [event.retry_at for event in failed] == [None]


def test_the_spending_of_each_attempt_is_counted_once():
    state, _ = taken(opened(), LOST)

    assert [state.may_settle("w", attempt) for attempt in (0, 1, 2, 3)] == [
        False,
        True,
        True,
        False,
    ]
    assert [n for n in range(4) if state.settle("w", 1).may_settle("w", n)] == [2]
    done = state.apply(WorkDone(work="w", attempt=2, at=NOW))
    assert not done.may_settle("w", 2)


def test_work_that_nobody_knows_is_superseded():
    decision = decide(Attempts(), Claim(work="x", attempt=1), NOW, RULES)

    assert decision.events == ()
    assert isinstance(decision.reply, Superseded)
    with pytest.raises(ValueError, match="before the work x"):
        Attempts().apply(WorkClaimed(work="x", attempt=1))


tokens = st.text("abcXYZ019_-", min_size=1, max_size=8)


@given(tokens, tokens, tokens, st.text("ab.0", min_size=1), st.integers(0, 10**9))
def test_the_id_of_an_item_tells_whose_attempt_at_what_it_is(
    entity: str, tenant: str, key: str, work: str, attempt: int
):
    reply_to = ReplyTo(entity=entity, tenant=tenant, key=key)
    assert item_of(item_id(reply_to, work, attempt)) == (reply_to, work, attempt)

"""Laws of instances, over random commands: nothing is begun twice, no token is lost."""

from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from actors.workflow.core.messages import (
    CancelTold,
    Decided,
    Put,
    RunTick,
    Signal,
    Suspend,
)
from actors.workflow.core.steps import ActionEnded, NetStepped
from actors.workflow.core.ticking import due
from actors.workflow.core.travel import replayed
from schemas.beginnings import HasBegun
from schemas.callbacks import EndOutcome, Inquire, Pending, WaitAnswered
from schemas.decision import Ask
from schemas.http_actions import HttpDone
from schemas.problems import Problem
from schemas.steps import at_once
from schemas.work import Claim, Lost, ReplyTo, Stopped, WorkFailure, WorkItem
from tests.unit.workflow.instances import Owner, beginning, done, end_of, net_of

RETRY = {"max_attempts": 2, "backoff_seconds": 1}

NET = net_of(
    places=[
        {"id": "a", "type": "initial"},
        *({"id": name} for name in "bcde"),
        {"id": "z", "type": "terminal"},
        {"id": "x", "type": "error"},
    ],
    transitions=[
        {
            "id": "write",
            "from_places": ["a"],
            "to_place": "b",
            "action": {"type": "agent", "agent_id": "w", "task": "t", "retry_config": RETRY},
            "on_error": {"then": "pause"},
        },
        {
            "id": "send",
            "from_places": ["b"],
            "to_place": "c",
            "action": {"type": "http", "url": "https://example.org", "timeout_seconds": 50},
            "on_error": {"then": "route", "to_place": "x"},
        },
        {
            "id": "child",
            "from_places": ["c"],
            "to_place": "d",
            "action": {"type": "workflow", "workflow_id": "c", "timeout_seconds": 90},
            "on_error": {"then": "pause"},
        },
        {
            "id": "hear",
            "from_places": ["d"],
            "to_place": "e",
            "action": {"type": "event", "subject": "go"},
        },
        {
            "id": "wait",
            "from_places": ["e"],
            "to_place": "z",
            "action": {"type": "timer", "seconds": 10},
        },
    ],
)
HEARD = Signal(subject="go", event={"data": {}})
BROKEN = Problem(code="provider_error", message="broken", retryable=True)
HOW = ("done", "end", "fail", "lost", "claim", "stop", "ask", "repeat")


class Random:
    """An instance to which anything happens; ``seen`` are all ends and reports so far."""

    def __init__(self) -> None:
        self.owner = Owner()
        self.owner.take(beginning(NET))
        self.begun: dict[str, WorkItem[Any]] = {}
        self.seen: list[Any] = []
        self.puts = 1

    def note(self) -> None:
        """Remember what items have begun, or will."""
        for item in self.owner.items():
            if item.queue == "begin":
                self.begun.setdefault(item.body.id, item)

    def happen(self, what: str, which: int) -> None:
        """Let one thing happen, if it can."""
        self.note()
        if what in HOW:
            self.happen_outside(what, which)
        else:
            self.happen_here(what, which)
        self.check()

    def happen_outside(self, what: str, which: int) -> None:
        """Let a worker or another entity say something."""
        owner, begun = self.owner, [*self.begun.values()]
        if what == "end" and begun:
            status = "COMPLETED" if which % 3 else "FAILED"
            self.tell(end_of(begun[which % len(begun)], status, cost=1))
        elif what == "ask" and owner.asks():
            self.answer(owner.asks()[which % len(owner.asks())], which)
        elif what == "repeat" and self.seen:
            owner.take(self.seen[which % len(self.seen)])
        elif owner.items():
            self.report(owner.items()[which % len(owner.items())], what)

    def happen_here(self, what: str, which: int) -> None:
        """Let time pass, or a user do something."""
        owner = self.owner
        match what:
            case "put" if owner.instance.closed is None and self.puts < 4:
                self.puts += 1
                owner.take(Put(id=f"p{self.puts}", place="a"))
            case "tick" if due(owner.instance) is not None:
                owner.tick()
            case "early":
                owner.take(RunTick())
            case "signal":
                owner.take(HEARD)
            case "suspend" | "resume":
                owner.take(Suspend(over=what == "resume"))
            case "decide" if owner.instance.marking.firings:
                names = list(owner.instance.marking.firings)
                owner.take(Decided(firing=names[which % len(names)], skip=bool(which % 2)))
            case _:
                pass

    def report(self, item: WorkItem[Any], what: str) -> None:
        """Report of an item as its worker would."""
        name: dict[str, Any] = {"work": item.work, "attempt": item.attempt}
        match what:
            case "done" if item.queue == "begin":
                self.tell(done(item, HasBegun))
            case "done":
                self.tell(done(item, HttpDone, outcome=EndOutcome(text='{"status": 200}')))
            case "fail":
                self.tell(WorkFailure(**name, problem=BROKEN))
            case "lost":
                self.tell(Lost(**name, begun=True))
            case "claim":
                self.tell(Claim(**name))
            case "stop":
                self.tell(Stopped(**name, sent=False))
            case _:
                pass

    def answer(self, ask: Ask, which: int) -> None:
        """Answer an ask as the other entity would."""
        of = ReplyTo(entity=ask.entity, tenant=ask.tenant, key=ask.key)
        if isinstance(ask.command, Inquire):
            end = end_of(self.begun[ask.key]) if which % 2 else None
            self.owner.take(WaitAnswered(ask=ask.id, of=of, end=end))
        else:
            self.owner.take(CancelTold(of=of, missing=bool(which % 2)))

    def tell(self, report: Any) -> None:
        self.seen.append(report)
        self.owner.take(report)

    def check(self) -> None:
        """No token is lost or made, and no action of the net ends twice."""
        marking = self.owner.instance.marking
        held = [each.token.id for each in marking.firings.values() if each.token is not None]
        assert len({*marking.tokens, *held}) == len(marking.tokens) + len(held) == self.puts
        steps = [
            step
            for turn in self.owner.turns
            for each in turn.steps
            if isinstance(each, NetStepped)
            for step in each.steps
        ]
        ended = Counter(step.firing for step in steps if isinstance(step, ActionEnded))
        assert not [firing for firing, count in ended.items() if count > 1]
        opened = Counter(item.body.id for item in self.owner.items() if item.queue == "begin")
        assert not [name for name, count in opened.items() if count > 1]

    def finish(self) -> None:
        """Let everything go well until the instance has ended."""
        owner = self.owner
        owner.take(Suspend(over=True))
        for _ in range(200):
            if owner.instance.closed is not None:
                break
            self.happen("signal", 0)
            for firing in list(owner.instance.marking.firings.values()):
                if firing.is_paused:
                    owner.take(Decided(firing=firing.id, skip=True))
            self.note()
            for item in owner.items():
                if item.queue != "begin":
                    self.report(item, "done")
            self.note()
            for wait in _waits(owner):
                owner.take(end_of(self.begun[wait.of.key]))
            if owner.instance.closed is None and due(owner.instance) is not None:
                owner.tick()
        for ask in owner.asks():
            self.answer(ask, 0)


def _waits(owner: Owner) -> list[Any]:
    return [wait for page in owner.instance.waits.known for wait in page.values()]


WHAT = st.sampled_from(("put", "tick", "early", "signal", "suspend", "resume", "decide", *HOW))


@settings(max_examples=120, deadline=None)
@given(st.lists(st.tuples(WHAT, st.integers(0, 7)), max_size=40))
def test_whatever_happens_no_token_is_lost_nothing_ends_twice_and_a_replay_is_equal(
    story: list[tuple[str, int]],
) -> None:
    random = Random()
    for what, which in story:
        random.happen(what, which)
    random.finish()
    random.check()
    assert random.owner.instance.closed in {"COMPLETED", "FAILED"}
    assert not random.owner.open
    assert at_once(replayed(random.owner.turns)).difference is None
    assert not isinstance(random.owner.take(Inquire()), Pending)

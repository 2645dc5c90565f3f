"""Nets in tests: written as dictionaries, and run with the laws of the engine checked all along."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.workflow.core.compiling import CompiledNet
from actors.workflow.core.firing import Run
from actors.workflow.core.scratch import apply
from actors.workflow.core.standing import standing
from actors.workflow.core.steps import NetStepped, Step
from actors.workflow.core.timing import due
from actors.workflow.core.tokens import Firing, Marking, NetToken
from schemas.nets import NetDefinition
from schemas.problems import Problem

MOST_SMALL = 20
BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def net(places: list[Any], *transitions: dict[str, Any], **more: Any) -> CompiledNet:
    """Compile a net; of a place's name alone `*name` is the initial one and `name!` terminal."""
    definition = {
        "places": [_place(each) if isinstance(each, str) else each for each in places],
        "transitions": [_transition(each) for each in transitions],
        **more,
    }
    return CompiledNet(msgspec.convert(definition, NetDefinition))


def _place(name: str) -> dict[str, str]:
    kind = "initial" if name.startswith("*") else "terminal" if name.endswith("!") else "normal"
    return {"id": name.strip("*!"), "type": kind}


def _transition(given: dict[str, Any]) -> dict[str, Any]:
    """Complete `{"arc": "a, b > c, d", ...}`: the places before and those after."""
    arrow = given.get("arc")
    if arrow is None:
        return given
    sources, _, targets = (part.strip() for part in arrow.partition(">"))
    rest = {name: value for name, value in given.items() if name != "arc"}
    return {
        **rest,
        "from_places": [each.strip() for each in sources.split(",")],
        "to_places": [each.strip() for each in targets.split(",") if each.strip()],
    }


class Instance:
    """An instance of a net. After each command it advances, and its laws are checked."""

    def __init__(self, compiled: CompiledNet, data: dict[str, Any] | None = None) -> None:
        self.net = compiled
        self.now = BEGAN
        self.marking = Marking()
        self.events: list[NetStepped] = []
        if data is not None:
            assert self.do("begin", data, {}) is None

    def do(self, what: str, *arguments: Any, most: int = 256, **named: Any) -> Problem | None:
        """Carry out a command of `Run`, and all that happens by itself after it."""
        problem = self._once(what, arguments, named, most)
        for count in range(500):
            if not self.marking.more:
                return problem
            # Small events show what a limit does; a net without end would take long in them.
            self._once("", (), {}, most if count < MOST_SMALL else 256)
        raise AssertionError("there is always more to do")

    def after(self, seconds: float) -> None:
        """Let time pass: what falls due meanwhile happens at its moment."""
        until = self.now + timedelta(seconds=seconds)
        while (at := due(self.net, self.marking)) is not None and at <= until:
            self.now = max(at, self.now)
            before = len(self.events)
            self.do("")
            assert len(self.events) > before, "what is due must change something"
        self.now = until

    def _once(self, what: str, arguments: Any, named: Any, most: int) -> Problem | None:
        run = Run(self.net, self.marking, self.now)
        # All was done before, so that what the command changes is all there is to look at.
        again = Run(self.net, self.marking, self.now, whole=False)
        problem = getattr(run, what)(*arguments, **named) if what else None
        run.advance(most)
        event = run.event()
        if what:
            getattr(again, what)(*arguments, **named)
        again.advance(most)
        assert again.event() == event, "it must be determined, also by the changes alone"
        if event is not None:
            assert problem is None or not what, "what is refused changes nothing"
            text = msgspec.json.encode(event)
            after = apply(self.marking, msgspec.json.decode(text, type=NetStepped))
            assert after == run.scratch.frozen(more=run.more), "steps must say all"
            assert msgspec.json.decode(msgspec.json.encode(after), type=Marking) == after
            self.marking = after
            self.events.append(event)
        return problem

    @property
    def steps(self) -> list[Step]:
        """All steps so far."""
        return [step for event in self.events for step in event.steps]

    @property
    def places(self) -> dict[str, int]:
        """How many tokens lie in each place that has any."""
        found: dict[str, int] = {}
        for token in self.marking.tokens.values():
            found[token.place] = found.get(token.place, 0) + 1
        return found

    @property
    def token(self) -> NetToken:
        """The only token."""
        (token,) = self.marking.tokens.values()
        return token

    @property
    def firing(self) -> Firing:
        """The only firing."""
        (firing,) = self.marking.firings.values()
        return firing

    @property
    def standing(self) -> str:
        """Where it stands."""
        return standing(self.net, self.marking)

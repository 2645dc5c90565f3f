"""Instances in memory: an owner without a bus, that holds what is outstanding to its laws."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from actors.workflow.core.decisions import decide
from actors.workflow.core.effects import changes, effects
from actors.workflow.core.entity import INSTANCE
from actors.workflow.core.evolving import evolve
from actors.workflow.core.messages import BeginRun, RunOrigin, RunTick, Turned
from actors.workflow.core.outward import announce
from actors.workflow.core.state import WorkflowInstance
from actors.workflow.core.ticking import due
from schemas.callbacks import Ended, EndOutcome
from schemas.decision import Ask, Effect, by_id
from schemas.nets import NetDefinition
from schemas.problems import Problem
from schemas.streams import StreamMessage
from schemas.work import Done, ReplyTo, WorkItem

START = datetime(2026, 1, 1, tzinfo=UTC)

_event = msgspec.json.Decoder(Turned)
_state = msgspec.json.Decoder(WorkflowInstance)


def net_of(**fields: Any) -> NetDefinition:
    """Return a net written as its author would."""
    return msgspec.convert(fields, NetDefinition)


def origin(instance: str = "i", **fields: Any) -> RunOrigin:
    """Return who starts an instance."""
    usual: dict[str, Any] = {"workflow_id": "w", "digest": "d"}
    return RunOrigin(tenant="acme", instance_id=instance, **(usual | fields))


def beginning(net: NetDefinition, **fields: Any) -> BeginRun:
    """Return the command that begins an instance of a net."""
    raw = msgspec.json.encode(net)
    usual: dict[str, Any] = {"origin": origin(), "version": 1}
    return BeginRun(**(usual | fields), net=msgspec.Raw(raw), net_digest=str(hash(raw)))


class Owner:
    """Decides on commands as an owner does, and checks what every turn must keep."""

    def __init__(self) -> None:
        self.state: WorkflowInstance | None = None
        self.turns: list[Turned] = []
        self.open: dict[str, Effect] = {}
        self.said: list[Any] = []
        self.segment = 1
        self.now = START

    @property
    def instance(self) -> WorkflowInstance:
        """The state, of an instance that stands."""
        assert self.state is not None
        return self.state

    @property
    def places(self) -> list[str]:
        """Where the tokens lie."""
        return [token.place for token in self.instance.marking.tokens.values()]

    def take(self, command: Any) -> Any:
        """Decide on a command; the state, its events and its effects are held to their laws."""
        decision = decide(self.state, command, self.now)
        for event in decision.events:
            stored = _event.decode(msgspec.json.encode(event))
            after = evolve(self.state, stored)
            assert after == evolve(self.state, event)
            change = changes(self.state, [event], after)
            for name in change.closed:
                del self.open[name]
            self.open |= by_id(change.opened)
            assert self.open == by_id(effects(after))
            told = [each.body for each in announce(self.state, event, after)]
            segments = {each.segment for each in told if isinstance(each, StreamMessage)}
            # Readers take a segment that is left out for lost.
            assert segments == set(range(self.segment, after.segment))
            self.segment = after.segment
            self.said += told
            self.turns.append(stored)
            self.state = after
            assert _state.decode(msgspec.json.encode(after)) == after
            whole, parts = INSTANCE.split(after)
            assert INSTANCE.joined(whole, parts) == after
        return decision.reply

    def tick(self) -> None:
        """Go to the moment that is due, and do what is due then."""
        at = due(self.instance)
        assert at is not None
        self.now = max(self.now, at)
        self.take(RunTick())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def items(self) -> list[WorkItem[Any]]:
        """Return the items that are open."""
        return [each for each in self.open.values() if isinstance(each, WorkItem)]

    def asks(self) -> list[Ask]:
        """Return the asks that are open."""
        return [each for each in self.open.values() if isinstance(each, Ask)]


def done(item: WorkItem[Any], kind: type[Done], **fields: Any) -> Any:
    """Return the report that an item is done."""
    return kind(work=item.work, attempt=item.attempt, **fields)


def end_of(item: WorkItem[Any], status: str = "COMPLETED", **fields: Any) -> Ended:
    """Return the end of what an item has begun."""
    entity = "workflow" if item.body.name == "workflows.start" else "execution"
    of = ReplyTo(entity=entity, tenant=item.tenant, key=item.body.id)
    outcome = fields.pop("outcome", EndOutcome(text="ok"))
    problem = None if status == "COMPLETED" else Problem(code="internal", message=status)
    told: dict[str, Any] = {
        "outcome": outcome if status == "COMPLETED" else None,
        "problem": problem,
    }
    return Ended(of=of, status=status, at=START, **(told | fields))

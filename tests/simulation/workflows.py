"""Workflows: tokens that fork and join, timers, requests that fail, children, undoing, crons.

Owners and workers are killed in the middle of it: no transition fires twice, no token is lost, no
timer is early, what was done is undone where it must be, and each time of a cron comes once.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import anyio
import msgspec

from actors.workflow.core.calendar import CalendarError
from actors.workflow.core.cron_trigger import (
    CRONS,
    ArmedCrons,
    CronCame,
    CronsArmed,
    instance_of,
    work_of,
)
from actors.workflow.core.entity import INSTANCE
from actors.workflow.core.messages import (
    INSTANCE_ENTITY,
    BeginRun,
    BegunOver,
    CancelRun,
    Fire,
    RunClosed,
    RunOrigin,
    Signal,
    Turned,
)
from actors.workflow.core.moves import net_steps
from actors.workflow.core.state import WorkflowInstance, has_ended
from actors.workflow.core.steps import (
    ActionAgain,
    ActionBegun,
    ActionEnded,
    ActionFailed,
    ActionPutOff,
    Fired,
    Moved,
    Step,
    TimedOut,
    TokensSet,
    UndoBegun,
)
from bus.errors import ProblemError
from bus.memory.store import moment
from bus.requests.rpc import Owners, command
from bus.work.worker import Job, Report
from schemas.beginnings import BEGIN_QUEUE, BeginWork, HasBegun
from schemas.callbacks import EndOutcome
from schemas.http_actions import HTTP_QUEUE, HttpDone, HttpWork
from schemas.identity import KeptPrincipal, admin
from schemas.nets import CronTrigger, NetDefinition
from schemas.problems import Problem
from schemas.triggers import TRIGGER_ENTITY, ArmCrons
from schemas.work import ReplyTo, WorkFailure, WorkItem
from tests.simulation.judge import AnyEntity, Judge
from tests.simulation.plan import USERS, Event, troubles
from tests.simulation.site import Site

TENANT = "acme"
PATIENCE = 8.0
CRON_SECONDS = 9.0
"""Until this moment of a history crons come."""

RETRY = {"max_attempts": 4, "backoff_seconds": 0.3}
DOWN = Problem(code="unavailable", message="the server is down", retryable=True)
NO = Problem(code="conflict", message="the server does not want to")
UNKNOWN = Problem(code="outcome_unknown", message="nobody knows")


def _http(method: str, **more: Any) -> dict[str, Any]:
    return {"type": "http", "url": "http://shop.example/x", "method": method, **more}


def _to(name: str, source: str, target: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "from_places": [source], "to_place": target, **more}


def _net(*names: str, transitions: Sequence[dict[str, Any]], **more: Any) -> NetDefinition:
    places = [{"id": name} for name in names]
    places[0]["type"], places[-1]["type"] = "initial", "terminal"
    return msgspec.convert({"places": places, "transitions": transitions, **more}, NetDefinition)


NETS = {
    "order": _net(
        *("new", "held", "split", "parts", "worked", "joined", "paid", "done"),
        transitions=[
            _to(
                *("hold", "new", "held"),
                action=_http("PUT", retry_config=RETRY),
                compensation=_http("PUT", retry_config=RETRY),
                on_error={"then": "compensate"},
            ),
            _to(
                *("pay", "held", "split"),
                action=_http("POST", retry_config=RETRY),
                compensation=_http("DELETE", retry_config=RETRY),
                on_error={"then": "compensate"},
            ),
            _to("fan", "split", "parts", fork={"over": "data.list", "most": 4}),
            _to("work", "parts", "worked", action=_http("PUT", retry_config=RETRY, required=False)),
            _to("gather", "worked", "joined", join={"deadline_seconds": 30, "least": 1}),
            _to("rest", "joined", "paid", action={"type": "timer", "seconds": 0.7}),
            _to(
                *("ship", "paid", "done"),
                action={"type": "workflow", "workflow_id": "ship"},
                on_error={"then": "compensate"},
            ),
        ],
    ),
    "ship": _net(
        *("new", "packed", "done"),
        transitions=[
            _to("pack", "new", "packed", action={"type": "timer", "seconds": 0.4}),
            _to("send", "packed", "done", action=_http("PUT", retry_config=RETRY)),
        ],
    ),
    "wait": _net(
        *("new", "told", "late", "done"),
        transitions=[
            _to("listen", "new", "told", action={"type": "event", "subject": "shop.*"}),
            _to("tell", "told", "done", manual=True),
            _to("shout", "told", "late", action={"type": "publish", "subject": "events.shop.late"}),
            _to("give_up", "late", "done", manual=True),
        ],
        seconds=6.0,
    ),
}


def next_second(cron: str, zone: str, after: datetime) -> datetime:
    """Stand for ``next_time``: the minutes of a crontab are seconds of a history."""
    del zone
    every = int(cron.split(maxsplit=1)[0].removeprefix("*/"))
    found = datetime.fromtimestamp((int(after.timestamp()) // every + 1) * every, UTC)
    if found > moment(CRON_SECONDS):
        raise CalendarError("cron", "this time never comes again")
    return found


# What workers do


def jobs(site: Site, judge: Judge, instances: Owners) -> dict[str, Job[Any]]:
    """Return what the workers of these histories do, by queue."""

    async def http(item: WorkItem[HttpWork]) -> Report:
        judge.began(item.id, site)
        await anyio.sleep(random.choice([0.0, 0.1, 0.5]) * random.random())
        lot = random.random()
        if lot < 0.15:
            return WorkFailure(work=item.work, attempt=item.attempt, problem=DOWN, sent=False)
        judge.carried_out[(item.reply_to.key, item.work)] += 1
        await anyio.sleep(random.choice([0.0, 0.1, 2.0]) * random.random())
        if lot < 0.25:
            problem = UNKNOWN if item.once else DOWN
            return WorkFailure(work=item.work, attempt=item.attempt, problem=problem)
        if lot < 0.32 and item.body.method != "DELETE":
            return WorkFailure(work=item.work, attempt=item.attempt, problem=NO)
        outcome = EndOutcome(value=msgspec.Raw(b'{"status":200,"body":{}}'))
        return HttpDone(work=item.work, attempt=item.attempt, outcome=outcome)

    async def begin(item: WorkItem[BeginWork]) -> Report:
        judge.began(item.id, site)
        await anyio.sleep(random.choice([0.0, 0.1]) * random.random())
        body = item.body
        asked = msgspec.json.decode(body.request)
        origin = _origin(body.id, asked["workflow_id"], item.reply_to, body.depth)
        try:
            await _started(instances, origin, asked["data"])
        except ProblemError as failed:
            problem = msgspec.structs.replace(failed.problem, retryable=True)
            return WorkFailure(work=item.work, attempt=item.attempt, problem=problem)
        return HasBegun(work=item.work, attempt=item.attempt)

    return {
        HTTP_QUEUE: Job(queue=HTTP_QUEUE, body_type=HttpWork, handle=http),
        BEGIN_QUEUE: Job(queue=BEGIN_QUEUE, body_type=BeginWork, handle=begin),
    }


def _origin(name: str, workflow: str, reply_to: ReplyTo | None = None, depth: int = 0) -> RunOrigin:
    return RunOrigin(
        tenant=TENANT,
        instance_id=name,
        workflow_id=workflow,
        digest="d",
        depth=depth,
        reply_to=reply_to,
    )


async def _started(instances: Owners, origin: RunOrigin, data: dict[str, Any]) -> None:
    raw = msgspec.json.encode(NETS[origin.workflow_id])
    body = BeginRun(
        origin=origin,
        version=1,
        net=msgspec.Raw(raw),
        net_digest=sha256(raw).hexdigest()[:32],
        data=data,
    )
    envelope = command("", TENANT, origin.instance_id, body)
    await instances.ask(envelope, timeout=PATIENCE)


# What users do


def acts(instances: Owners, crons: Owners) -> Mapping[str, Callable[..., Awaitable[Any]]]:
    """Return what users do in these histories, by the words of the plan."""

    async def start(who: str, key: str, workflow: str, parts: int) -> None:
        del who
        await _started(instances, _origin(key, workflow), {"list": list(range(parts))})

    async def deed(who: str, key: str, body: Any, name: str) -> None:
        envelope = command("", TENANT, key, msgspec.structs.replace(body, id=f"{name}.{who}"))
        await instances.ask(envelope, timeout=PATIENCE)

    async def signal(who: str, key: str, name: str) -> None:
        await deed(who, key, Signal(subject="shop.open", event={"data": {"name": name}}), name)

    async def fire(who: str, key: str, name: str, transition: str) -> None:
        await deed(who, key, Fire(transition=transition), name)

    async def cancel(who: str, key: str) -> None:
        await deed(who, key, CancelRun(reason="enough"), "cancel")

    async def arm(who: str, key: str, version: int, every: Sequence[int]) -> None:
        del who
        triggers = [CronTrigger(id=f"c{n}", cron=f"*/{n} * * * *") for n in every]
        body = ArmCrons(version=version, crons=triggers, by=KeptPrincipal.of(admin(TENANT)))
        await crons.ask(command(f"arm.{version}", TENANT, key, body), timeout=PATIENCE)

    return {"starts": start, "signals": signal, "fires": fire, "calls": cancel, "arms": arm}


# Histories


def entities() -> tuple[AnyEntity, ...]:
    """Return what lives in these histories."""
    return (INSTANCE, CRONS)


def plan_of(seed: int) -> list[Event]:
    """Draw the plan of a history, in order of time."""
    chance = random.Random(seed)
    events = [*_orders(chance), *_waits(chance), *_crons(chance), *troubles(chance)]
    return sorted(events, key=lambda event: (event.at, event.name))


def _orders(chance: random.Random) -> Iterator[Event]:
    for number in range(chance.randint(1, 2)):
        key, at = f"o{number}", chance.uniform(0.6, 2.5)
        values = {"key": key, "workflow": "order", "parts": chance.randint(1, 4)}
        yield Event(at, "starts", chance.choice(USERS), values)
        if chance.random() < 0.3:
            yield Event(at + chance.uniform(0.0, 0.5), "starts", "cyd", values)
        if chance.random() < 0.15:
            yield Event(at + chance.uniform(0.0, 3.0), "calls", "cyd", {"key": key})


def _waits(chance: random.Random) -> Iterator[Event]:
    if chance.random() < 0.5:
        return
    at = chance.uniform(0.6, 2.0)
    yield Event(at, "starts", "ann", {"key": "w", "workflow": "wait", "parts": 1})
    for number in range(chance.randint(1, 3)):
        values = {"key": "w", "name": f"s{number}"}
        yield Event(at + chance.uniform(0.1, 2.0), "signals", chance.choice(USERS), values)
    for number in range(chance.randint(0, 3)):
        which = chance.choice(["tell", "give_up", "listen"])
        values = {"key": "w", "name": f"f{number}", "transition": which}
        yield Event(at + chance.uniform(0.1, 3.0), "fires", chance.choice(USERS), values)


def _crons(chance: random.Random) -> Iterator[Event]:
    if chance.random() < 0.5:
        return
    at = chance.uniform(0.6, 2.0)
    for version in range(1, chance.randint(2, 4)):
        every = chance.sample([1, 2, 3], chance.randint(0, 2))
        values = {"key": "ship", "version": version, "every": every}
        yield Event(at + chance.uniform(0.0, 3.0), "arms", chance.choice(USERS), values)


# What must hold


def is_over(state: WorkflowInstance | ArmedCrons) -> bool:
    """Say whether nothing is left to do, unless a person decides on what is paused."""
    if isinstance(state, ArmedCrons):
        return not (state.crons or state.begins)
    if has_ended(state):
        return state.end is None or state.origin.reply_to is None
    firings = state.marking.firings.values()
    return any(firing.is_paused for firing in firings) and not INSTANCE.effects(state)


class _Net:
    """The tokens and firings of one instance, followed apart from the engine."""

    def __init__(self) -> None:
        self.tokens: set[str] = set()
        self.firings: dict[str, ActionBegun | UndoBegun] = {}
        self.paused: set[str] = set()
        self.retry_at: dict[str, datetime] = {}
        self.done: list[str] = []
        self.undone: list[str] = []
        self.compensates = False

    def follow(self, step: Step, at: datetime) -> Iterator[str]:
        """Take a step in; yield what is wrong with it."""
        match step:
            case Moved():
                if step.token not in self.tokens:
                    yield f"{step.transition} moved {step.token}, which is not there"
            case ActionBegun():
                yield from self._change(step)
                yield from self._begin(step)
            case UndoBegun():
                yield from self._begin(step)
            case ActionEnded() | ActionFailed():
                yield from self._end(step, at)
            case ActionPutOff():
                self.retry_at[step.firing] = step.retry_at
            case ActionAgain():
                if at < self.retry_at.pop(step.firing):
                    yield f"{step.firing} is attempted again too early"
            case Fired() | TokensSet() | TimedOut():
                yield from self._change(step)
                if not step.puts:
                    yield f"{step} has put no token"
            case _:
                pass

    def _begin(self, step: ActionBegun | UndoBegun) -> Iterator[str]:
        if step.firing in self.firings:
            yield f"firing {step.firing} begins twice"
        self.firings[step.firing] = step

    def _end(self, step: ActionEnded | ActionFailed, at: datetime) -> Iterator[str]:
        if isinstance(step, ActionFailed) and step.then == "pause":
            self.paused.add(step.firing)
            return
        begun = self.firings.pop(step.firing, None)
        if begun is None:
            yield f"firing {step.firing} ends twice"
            return
        yield from self._change(step)
        if isinstance(begun, UndoBegun):
            self.undone.append(begun.transition)
            return
        if isinstance(step, ActionFailed):
            self.compensates |= step.then == "compensate"
            return
        if not step.puts:
            yield f"{begun.transition} has put no token"
        if begun.transition in ("hold", "pay"):
            self.done.append(begun.transition)
        if begun.transition in ("rest", "pack") and begun.deadline and at < begun.deadline:
            yield f"the timer of {begun.transition} is early"

    def _change(self, step: Any) -> Iterator[str]:
        gone = {*step.taken, *step.cancelled}
        if gone - self.tokens:
            yield f"tokens {sorted(gone - self.tokens)} were taken and are not there: {step}"
        self.tokens -= gone
        for firing in step.stopped:
            self.firings.pop(firing, None)
        for put in step.puts:
            if put.id in self.tokens and put.place is not None:
                yield f"token {put.id} is put and is there already"
            self.tokens.add(put.id)


def faults_of_instance(history: list[Turned]) -> Iterator[str]:
    """Yield what is wrong with the turns of an instance."""
    net, ends = _Net(), list[RunClosed]()
    for event in history:
        if ends and any(True for _ in net_steps(event)):
            yield "its net goes on after its end"
        for step in net_steps(event):
            yield from net.follow(step, event.at)
        ends += [step for step in event.steps if isinstance(step, RunClosed)]
    # What is paused waits for a person.
    if len(ends) != 1 and not (net.paused & net.firings.keys() and not ends):
        yield f"it has {len(ends)} ends"
    if ends and ends[0].status == "COMPLETED" and (net.firings or not net.tokens):
        yield f"it is completed, with tokens {net.tokens} and firings {sorted(net.firings)}"
    if net.compensates and ends and ends[0].status == "FAILED" and net.undone != net.done[::-1]:
        yield f"done was {net.done}, undone {net.undone}"


def faults_of_crons(history: list[Any]) -> Iterator[str]:
    """Yield what is wrong with the times of a definition's crons."""
    came: dict[str, list[datetime]] = defaultdict(list)
    versions = [event.version for event in history if isinstance(event, CronsArmed)]
    for event in history:
        if isinstance(event, CronCame):
            came[event.trigger].append(event.at)
    if versions != sorted(set(versions)):
        yield f"versions {versions} were armed"
    for trigger, times in came.items():
        if times != sorted(set(times)):
            yield f"times of {trigger}: {times}"
    yield from _missed(history)


def _missed(history: list[Any]) -> Iterator[str]:
    """Yield where a time is left out between two of one version."""
    last: dict[str, datetime] = {}
    for event in history:
        if isinstance(event, CronsArmed):
            known = {cron.trigger.id for cron in event.crons}
            last = {trigger: at for trigger, at in last.items() if trigger in known}
        elif isinstance(event, CronCame):
            step = timedelta(seconds=int(event.trigger[1:]))
            if event.trigger in last and event.at - last[event.trigger] != step:
                yield f"after {last[event.trigger]} {event.trigger} came at {event.at}"
            last[event.trigger] = event.at


def faults_of_workflows(judge: Judge) -> Iterator[str]:
    """Yield what is wrong between instances, what they have begun, and what was done outside."""
    ended: dict[str, str] = {}
    for key, history in _instances(judge):
        for step in (step for event in history for step in event.steps):
            if isinstance(step, RunClosed):
                ended[key] = step.status
    for key, history in _instances(judge):
        yield from (f"{key}: {fault}" for fault in _faults_of_children(history, ended))
        yield from (f"{key}: {fault}" for fault in _faults_of_once(judge, key, history))
    for shard in judge.shards.values():
        if shard.entity.name != TRIGGER_ENTITY:
            continue
        for (_, workflow), history in shard.histories.items():
            for event in history:
                if isinstance(event, CronCame):
                    name = instance_of(workflow, work_of(event.trigger, event.at))
                    if name not in ended:
                        yield f"{event.trigger} came at {event.at}, and nothing has begun"


def _instances(judge: Judge) -> Iterator[tuple[str, list[Turned]]]:
    for shard in judge.shards.values():
        if shard.entity.name == INSTANCE_ENTITY:
            for (_, key), history in shard.histories.items():
                yield key, history


def _faults_of_children(history: list[Turned], ended: Mapping[str, str]) -> Iterator[str]:
    heard: Counter[str] = Counter()
    for event in history:
        for step in event.steps:
            if isinstance(step, BegunOver):
                heard[step.of.key] += 1
                if step.status == "COMPLETED" and ended.get(step.of.key) != "COMPLETED":
                    yield f"{step.of.key} is told to be completed"
    yield from (f"the end of {key} was heard {n} times" for key, n in heard.items() if n > 1)


def _faults_of_once(judge: Judge, key: str, history: list[Turned]) -> Iterator[str]:
    """Yield payments that were made more often than their net knows."""
    begun = {
        step.firing: step.transition
        for event in history
        for step in net_steps(event)
        if isinstance(step, ActionBegun)
    }
    for (instance, work), times in judge.carried_out.items():
        if instance == key and begun.get(work.partition(".")[0]) == "pay" and times > 1:
            yield f"the payment {work} was made {times} times"

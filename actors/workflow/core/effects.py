"""What is outstanding of an instance: items of work, and what it asks other entities. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from actors.workflow.core.messages import INSTANCE_ENTITY, CancelRun, CancelTold, Turned
from actors.workflow.core.requests import Beginning, request_of
from actors.workflow.core.state import ActionRun, Cancelling, WorkflowInstance
from schemas import callbacks
from schemas.attempts import Attempt, item
from schemas.beginnings import BEGIN_QUEUE, BeginWork
from schemas.bills import problem_of
from schemas.callbacks import CallbackAnswered, Ended, Inquire, Pending, WaitAnswered, name_of
from schemas.decision import UNCHANGED, Ask, Changes, Effect, by_id, differences
from schemas.http_actions import HTTP_QUEUE, http_work, lane_of
from schemas.identity import admin
from schemas.lifecycle import Cancel
from schemas.nets import HttpAction
from schemas.problems import Problem
from schemas.work import ReplyTo, WorkItem, item_id

_answer: msgspec.json.Decoder[Ended | Pending | Problem] = msgspec.json.Decoder(
    Ended | Pending | Problem
)


def reply_to(state: WorkflowInstance) -> ReplyTo:
    """Return the address of an instance."""
    origin = state.origin
    return ReplyTo(entity=INSTANCE_ENTITY, tenant=origin.tenant, key=origin.instance_id)


def effects(state: WorkflowInstance) -> tuple[Effect, ...]:
    """Return all that is outstanding."""
    return (*_items(state), *_asks(state))


def changes(
    before: WorkflowInstance | None, events: Sequence[Turned], after: WorkflowInstance
) -> Changes:
    """Return what a turn opens and closes. What it leaves as it was is not looked at."""
    del events
    if before is None:
        return Changes(effects(after))
    opened: list[Effect] = []
    closed: list[str] = []
    if before.attempts is not after.attempts:
        was, now = dict(_open(before)), dict(_open(after))
        opened += [
            made for name, place in now.items() if name not in was for made in _made(after, *place)
        ]
        closed += [name for name in was if name not in now]
    if (
        before.waits is not after.waits
        or before.cancelling is not after.cancelling
        or before.end is not after.end
    ):
        asked = differences(by_id(_asks(before)), by_id(_asks(after)))
        opened += asked.opened
        closed += asked.closed
    return Changes(opened, closed) if opened or closed else UNCHANGED


def _open(state: WorkflowInstance) -> Iterator[tuple[str, tuple[ActionRun, Attempt]]]:
    """Yield the items that are open by their names: to make them all would cost a turn too much."""
    to = reply_to(state)
    for work, known in state.attempts.open():
        run = state.run(work.partition(".")[0])
        if run is not None and run.work == work:
            yield item_id(to, work, known.attempt), (run, known)


def _items(state: WorkflowInstance) -> Iterator[WorkItem[Any]]:
    for _, place in _open(state):
        yield from _made(state, *place)


def _made(state: WorkflowInstance, run: ActionRun, known: Attempt) -> Iterator[WorkItem[Any]]:
    firing = state.marking.firings.get(run.firing)
    if firing is None:
        return
    action, origin = state.compiled.action_of(firing), state.origin
    if isinstance(action, HttpAction):
        until = run.until or run.since
        body: Any = http_work(action, firing.request or {}, until)
        made = item(reply_to(state), run.work, known, HTTP_QUEUE, body)
        yield msgspec.structs.replace(made, lane=lane_of(action.url), trace=origin.trace)
    if not isinstance(action, Beginning) or run.of is None:
        return
    name, request = request_of(action, firing.request or {}, origin)
    begins = BeginWork(
        name=name,
        id=run.of.key,
        request=msgspec.Raw(request),
        by=origin.by.principal if origin.by is not None else admin(origin.tenant),
        depth=origin.depth + 1,
        scope=f"run/{origin.instance_id}",
    )
    made = item(reply_to(state), run.work, known, BEGIN_QUEUE, begins)
    yield msgspec.structs.replace(made, trace=origin.trace)


def _asks(state: WorkflowInstance) -> Iterator[Ask]:
    yield from callbacks.asks(state.waits, lambda _: Inquire())
    for each in state.cancelling.values():
        if each.again_at is None:
            yield _cancels(each)
    if state.end is not None and state.origin.reply_to is not None:
        yield callbacks.callback(state.origin.reply_to, state.end)


def _cancels(each: Cancelling) -> Ask:
    of, reason = each.of, "the workflow that has begun it does not need it any more"
    return Ask(
        id=f"{name_of(of)}.cancel.{each.tries}",
        entity=of.entity,
        tenant=of.tenant,
        key=of.key,
        since=each.since,
        command=CancelRun(reason=reason) if of.entity == INSTANCE_ENTITY else Cancel(reason=reason),
    )


def answered(ask: Ask, answer: bytes) -> WaitAnswered | CancelTold | CallbackAnswered:
    """Return the command that tells an instance what another entity has answered."""
    if isinstance(ask.command, Cancel | CancelRun):
        of = ReplyTo(entity=ask.entity, tenant=ask.tenant, key=ask.key)
        refused = problem_of(answer)
        return CancelTold(of=of, missing=refused is not None and refused.code == "not_found")
    if isinstance(ask.command, Ended):
        return CallbackAnswered(problem=problem_of(answer))
    told = _answer.decode(answer)
    return callbacks.notification(ask, None if isinstance(told, Pending) else told)

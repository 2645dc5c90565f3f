"""The commands of an instance that public requests come to. Pure."""

from datetime import datetime
from typing import assert_never

import msgspec

from actors.workflow.core.messages import (
    AnswerPerson,
    CancelRun,
    Decided,
    Fire,
    Put,
    Signal,
    Suspend,
    Update,
    UserCommand,
)
from schemas.workflow_runs import (
    AnswerWorkflow,
    CancelWorkflow,
    FireTransition,
    PutToken,
    ResumeWorkflow,
    RetryFiring,
    SignalWorkflow,
    SkipFiring,
    SuspendWorkflow,
    UpdateToken,
)

Act = (
    FireTransition
    | PutToken
    | UpdateToken
    | SignalWorkflow
    | AnswerWorkflow
    | CancelWorkflow
    | SuspendWorkflow
    | ResumeWorkflow
    | RetryFiring
    | SkipFiring
)


def command_of(wanted: Act, name: str, by: str, now: datetime) -> UserCommand:
    """Return the command of a request; ``name`` is its id."""
    made = _bare(wanted, name, now)
    return msgspec.structs.replace(made, id=name, by=by, expected=wanted.expected_version)


def _bare(wanted: Act, name: str, now: datetime) -> UserCommand:
    match wanted:
        case FireTransition():
            return Fire(transition=wanted.transition, token=wanted.token)
        case PutToken():
            return Put(place=wanted.place, data=wanted.data, metadata=wanted.metadata)
        case UpdateToken():
            return Update(token=wanted.token, data=wanted.data, metadata=wanted.metadata)
        case SignalWorkflow():
            event = {"id": wanted.id or name, "subject": wanted.subject, "data": wanted.data}
            return Signal(subject=wanted.subject, event={**event, "time": now.isoformat()})
        case AnswerWorkflow():
            return AnswerPerson(firing=wanted.firing, choice=wanted.choice, values=wanted.values)
        case CancelWorkflow():
            return CancelRun(reason=wanted.reason)
        case SuspendWorkflow() | ResumeWorkflow():
            return Suspend(over=isinstance(wanted, ResumeWorkflow))
        case RetryFiring() | SkipFiring():
            return Decided(firing=wanted.firing, skip=isinstance(wanted, SkipFiring))
        case _:
            assert_never(wanted)

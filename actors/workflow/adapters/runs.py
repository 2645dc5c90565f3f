"""The requests about instances: read, ask the owner, reply."""

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import msgspec

from actors.workflow.adapters.definitions import Workflows
from actors.workflow.adapters.history import Histories
from actors.workflow.adapters.lists import listed
from actors.workflow.adapters.quoting import Quotes
from actors.workflow.core import messages, travel
from actors.workflow.core.definitions import forbidden_agent, net_bytes
from actors.workflow.core.messages import BeginRun, LookRun, RunOrigin
from actors.workflow.core.showing import shown_firings, shown_token
from bus.codec import decode, encode
from bus.errors import ProblemError, problem
from bus.fairness.slices import Slices
from bus.ids import new_id
from bus.projection import Projector
from bus.requests.caller import Caller
from bus.requests.rpc import Owners
from bus.requests.service import answers
from schemas.journal import CommandEnvelope
from schemas.workflow_runs import (
    AnswerWorkflow,
    CancelWorkflow,
    FireTransition,
    ForkWorkflow,
    GetWorkflowHistory,
    GetWorkflowRun,
    ListWorkflowRuns,
    MigrateWorkflow,
    PutToken,
    ReplayWorkflow,
    ResumeWorkflow,
    RetryFiring,
    SignalWorkflow,
    SkipFiring,
    StartWorkflow,
    SuspendWorkflow,
    UpdateToken,
    WorkflowHandle,
    WorkflowHistory,
    WorkflowReplayed,
    WorkflowRun,
    WorkflowRunList,
    WorkflowTurn,
)
from schemas.workflows import WorkflowDefinition
from actors.workflow.core.requests import digest_of

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

MOST_DEPTH = 8
"""So many instances may lie in each other."""

_MOST_TEXT = 256
_MOST_METADATA = 16


class RunStores(NamedTuple):
    """What the requests about instances read."""

    workflows: Workflows
    histories: Histories
    runs: Projector
    records: "Records"


class WorkflowRuns:
    """The public face of instances."""

    def __init__(
        self, owners: Owners, stores: RunStores, quotes: Quotes, request_timeout: float, clock: Any
    ) -> None:
        self._owners = owners
        self._stores = stores
        self._quotes = quotes
        self._timeout = request_timeout
        self._clock = clock
        self._slices = Slices()

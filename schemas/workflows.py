"""Workflows as users see them: their definitions, and what is found in these before they run."""

from typing import Literal

from schemas.base import Value
from schemas.nets import NetDefinition
from schemas.versioned import Versioned


class NetFinding(Value, omit_defaults=True):
    """What is wrong with a net, or may be.

    ``path`` is the field, such as ``net.transitions.3.to_place``. ``witness`` is a run that shows
    it: the transitions that fire, in order. An ``error`` refuses the definition; what could not be
    proved within its bounds is ``unproved``.
    """

    code: str
    severity: Literal["error", "warning", "unproved"]
    path: str
    message: str
    witness: list[str] = []


class NetProof(Value, omit_defaults=True):
    """What is proved of a net, for one token in its initial place.

    ``markings`` are those that can be reached, ``executions`` how many agents and models an
    instance can run at most, ``tool_calls`` likewise; None is not bounded, or not known.
    """

    findings: list[NetFinding] = []
    markings: int = 0
    executions: int | None = None
    tool_calls: int | None = None
    sound: bool = False


class WorkflowDefinition(Versioned):
    """A workflow: a version of it never changes, and what runs keeps the one it began with."""

    name: str
    description: str = ""
    net: NetDefinition
    proof: NetProof = NetProof()

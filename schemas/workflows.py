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

    ``markings`` are those that were looked at, ``executions`` how many agents an instance can run
    at most, ``tool_calls`` likewise; None is not bounded, or not known. Attempts count, and what
    child workflows run; what people repeat or put in by hand does not. ``agents``, ``tools`` (as
    ``server/tool``) and ``workflows`` say it of each: what is not among them has no known bound.
    ``sound``: every run can come to its end wherever it is, whatever guards and actions come to.
    """

    findings: list[NetFinding] = []
    markings: int = 0
    executions: int | None = None
    tool_calls: int | None = None
    agents: dict[str, int] = {}
    tools: dict[str, int] = {}
    workflows: dict[str, int] = {}
    sound: bool = False


class WorkflowDefinition(Versioned):
    """A workflow: a version of it never changes, and what runs keeps the one it began with."""

    name: str
    description: str = ""
    net: NetDefinition
    proof: NetProof = NetProof()

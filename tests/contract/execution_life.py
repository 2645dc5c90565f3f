"""The golden life of executions: every event of theirs, a change of owner and a snapshot."""

import hashlib

from actors.agents.core.entity import EXECUTION
from bus.requests.rpc import command
from bus.shard.turn import PendingCommand
from schemas.beginnings import HasBegun
from schemas.bills import AccountAnswered, Spending
from schemas.callbacks import LOOK, CallbackAnswered, Ended, EndOutcome, WaitAnswered, name_of
from schemas.identity import KeptPrincipal, admin
from schemas.ledger import Charge
from schemas.lifecycle import (
    Accept,
    Cancel,
    Decide,
    Delete,
    Deltas,
    FailGeneration,
    FinishGeneration,
    Origin,
    Tick,
)
from schemas.llm import Answer, GenerateRequest, ToolCall
from schemas.problems import Problem
from schemas.providers import Scripted
from schemas.tools import FinishTool, OfferedTool, ToolPlan, ToolResult, ToolText
from schemas.usage import Usage
from schemas.work import Claim, Lost, ReplyTo
from tests.contract.recorder import BEGAN, Recorder

ENTITY = EXECUTION
DELTAS = Deltas(count=2, sha256=hashlib.sha256(b"Hello.").hexdigest())
HOUR = 3600.0
OVERLOADED = Problem(code="provider_overloaded", message="try again later", retryable=True)


def live(recorder: Recorder) -> None:
    """Live through it."""
    recorder.take_over()
    recorder.turn(*(_accept(name) for name in ("done", "spent", "stopped", "late")))
    recorder.turn(_pending("done", Claim(work="1", attempt=1)))
    recorder.turn(_fail("spent", 1), _pending("stopped", Lost(work="1", attempt=1)))
    recorder.take_snapshot()
    recorder.turn(_finish("done", 1), _pending("late", Lost(work="1", attempt=1, begun=True)))
    recorder.take_over()
    recorder.turn(_pending("spent", Tick(), name=""), _finish("late", 1), seconds=40)
    recorder.turn(_fail("spent", 2), _pending("stopped", Cancel(reason="enough")))
    recorder.turn(_pending("late", Tick(), name=""), seconds=60)
    _spend(recorder)
    _call_back(recorder)
    _call_tools(recorder)
    _run_agents(recorder)
    recorder.turn(_pending("stopped", Delete()))


def _call_tools(recorder: Recorder) -> None:
    """Live through a round of tools: found, unknown, rejected by a person, of unknown outcome."""
    plan = ToolPlan(
        offered=[
            OfferedTool(name="find", server="notes", tool="find", once=False),
            OfferedTool(name="send", server="mail", tool="send"),
            OfferedTool(name="pay", server="bank", tool="pay", needs_approval=True),
        ]
    )
    recorder.turn(_accept("tools", tools=plan))
    recorder.turn(_finish("tools", 1, calls=("find", "send", "pay", "nowhere")))
    rejected = Decide(call_id="c3", approved=False, by="acme/ann", reason="too much")
    recorder.turn(_pending("tools", Claim(work="1.2", attempt=1)), _pending("tools", rejected))
    found = ToolResult(content=[ToolText(text="Found: ä, 中, 🙂.")])
    done = FinishTool(work="1.1", attempt=1, result=found, started_at=BEGAN)
    recorder.turn(
        _pending("tools", done), _pending("tools", Lost(work="1.2", attempt=1, begun=True))
    )
    sent = FinishTool(work="1.2", attempt=1, result=found, started_at=BEGAN)
    recorder.turn(_pending("tools", sent, name="late"))
    recorder.turn(_finish("tools", 1, work="2"))


def _run_agents(recorder: Recorder) -> None:
    """Run two agents: one is looked at after a while and ends, the other is not needed any more."""
    runs = OfferedTool(
        name="run",
        server="agents",
        tool="agents.execute",
        once=False,
        agents=["critic"],
        seconds=HOUR,
    )
    plan = ToolPlan(offered=[runs], by=KeptPrincipal.of(admin("acme")))
    recorder.turn(_accept("boss", tools=plan, timeout=2 * HOUR))
    task = '{"agent_id":"critic","task":"Judge it: ä, 中, 🙂."}'
    recorder.turn(_finish("boss", 1, calls=("run", "run", "run"), arguments=task))
    begun = [HasBegun(work=f"1.{place}", attempt=1) for place in (1, 2)]
    recorder.turn(*(_pending("boss", each, name=f"begun.{each.work}") for each in begun))
    first, second, _ = _children(recorder, "boss")
    recorder.turn(_pending("boss", Tick(), name=""), seconds=LOOK.total_seconds() + 1)
    looked = WaitAnswered(ask=f"{name_of(first)}.look.1", of=first)
    recorder.turn(_pending("boss", looked, name="looked"))
    outcome = EndOutcome(text="It is good: ä, 中, 🙂.")
    end = Ended(of=first, status="COMPLETED", at=BEGAN, cost=700, outcome=outcome)
    recorder.turn(_pending("boss", end, name="ended"))
    recorder.turn(_pending("boss", Cancel(reason="enough")))
    stopped = Ended(of=second, status="CANCELLED", at=BEGAN)
    late = HasBegun(work="1.3", attempt=1)
    recorder.turn(_pending("boss", stopped, name="stopped"), _pending("boss", late, name="late"))


def _children(recorder: Recorder, key: str) -> list[ReplyTo]:
    """Return the executions that an execution has begun."""
    tools = recorder.book.slots["acme", key].state.tools
    names = [call.execution_id for call in tools.all_made]
    return [ReplyTo(entity=ENTITY.name, tenant="acme", key=name) for name in names]


def _call_back(recorder: Recorder) -> None:
    """Tell another entity of the end."""
    parent = ReplyTo(entity="parent", tenant="acme", key="p1")
    recorder.turn(_accept("child", reply_to=parent))
    recorder.turn(_pending("child", Cancel(reason="enough")))
    recorder.turn(_pending("child", CallbackAnswered()))


def _spend(recorder: Recorder) -> None:
    """Live through what lies between an execution and the account of its tenant."""
    refused = Problem(code="rate_limited", message="too often", retryable=True, retry_after=1.0)
    recorder.turn(_accept("paid", Spending(amount_pico=900, tokens=50, waits=True)))
    recorder.turn(_reserved("paid", attempt=1, asked=1, problem=refused))
    recorder.turn(_pending("paid", Tick(), name=""), seconds=2)
    recorder.turn(_reserved("paid", attempt=1, asked=2))
    recorder.turn(_pending("paid", Lost(work="1", attempt=1, begun=True)))
    recorder.turn(_reserved("paid", attempt=2, asked=1), _fail("paid", 1, spent=False))
    recorder.turn(
        _pending("paid", AccountAnswered(work="1", attempt=1, what="void", asked=1)),
        _finish("paid", 2),
    )
    raised = Problem(code="internal", message="it raised")
    unbooked = AccountAnswered(work="1", attempt=2, what="settle", asked=1, problem=raised)
    recorder.turn(_pending("paid", unbooked, name="a1"))
    recorder.turn(_pending("paid", Tick(), name=""), seconds=2)


def _reserved(
    key: str, *, attempt: int, asked: int, problem: Problem | None = None
) -> PendingCommand:
    body = AccountAnswered(work="1", attempt=attempt, what="reserve", asked=asked, problem=problem)
    return _pending(key, body, name=f"answer.{attempt}.{asked}")


Command = (
    Accept
    | AccountAnswered
    | CallbackAnswered
    | Cancel
    | Claim
    | Decide
    | Delete
    | Ended
    | FailGeneration
    | FinishGeneration
    | FinishTool
    | HasBegun
    | Lost
    | Tick
    | WaitAnswered
)


def _pending(key: str, body: Command, *, name: str | None = None) -> PendingCommand:
    given = f"{body.__struct_config__.tag}.{key}" if name is None else name
    return PendingCommand(command(given, "acme", key, body, digest="2cf2"))


def _accept(
    key: str,
    spending: Spending | None = None,
    reply_to: ReplyTo | None = None,
    tools: ToolPlan | None = None,
    timeout: float = 90.0,
) -> PendingCommand:
    origin = Origin(
        tenant="acme",
        execution_id=key,
        agent_id="reviewer",
        agent_version=3,
        task="Say it: ä, 中, 🙂.",
        digest="2cf2",
        max_attempts=2,
        session="monday",
    )
    request = GenerateRequest(provider=Scripted(responses=["Hello."]), messages=[])
    wanted = Accept(
        origin=origin,
        request=request,
        timeout_seconds=timeout,
        spending=spending,
        reply_to=reply_to,
        tools=tools,
    )
    return _pending(key, wanted)


def _finish(
    key: str,
    attempt: int,
    *,
    work: str = "1",
    calls: tuple[str, ...] = (),
    arguments: str = "{}",
) -> PendingCommand:
    answer = Answer(
        text="Hello.",
        finish_reason="tool_calls" if calls else "stop",
        usage=Usage(input=12, output=2),
        tool_calls=[
            ToolCall(id=f"c{place}", name=name, arguments=arguments)
            for place, name in enumerate(calls, 1)
        ],
    )
    body = FinishGeneration(
        work=work,
        attempt=attempt,
        answer=answer,
        deltas=DELTAS,
        started_at=BEGAN,
        charges=[Charge(provider="scripted", model="m", usage=answer.usage, cost_pico=14)],
        decided_at=BEGAN,
    )
    return _pending(key, body, name=f"finish.{work}.{key}")


def _fail(key: str, attempt: int, *, spent: bool = True) -> PendingCommand:
    body = FailGeneration(
        work="1",
        attempt=attempt,
        problem=OVERLOADED,
        deltas=DELTAS,
        started_at=BEGAN,
        usage=Usage(output=1) if spent else None,
        charges=None if spent else [],
    )
    return _pending(key, body, name=f"fail.{attempt}.{key}")

"""Teams of agents as nets: the patterns that a team compiles to, with their bounds.

Each function returns the net of one pattern; what its members come to is in the token's data.
"""

from schemas.net_builder import NetBuilder, field
from schemas.nets import (
    AgentRetryConfig,
    AgentTransitionConfig,
    ErrorPolicy,
    Fork,
    Join,
    NetDefinition,
    TransformAction,
)


def _runs(
    name: str, into: str, attempts: int = 1, *, required: bool = True
) -> AgentTransitionConfig:
    retry = AgentRetryConfig(max_attempts=attempts) if attempts > 1 else None
    return AgentTransitionConfig(
        agent_id=name,
        output_mapping={into: "output"},
        required=required,
        retry_config=retry,
        timeout_seconds=60,
    )


def _begun() -> NetBuilder:
    return NetBuilder().place("task", "initial").place("answered", "terminal")


def _side_by_side(net: NetBuilder, name: str, source: str, members: int, target: str) -> None:
    """Let all members act on the same, and wait for all of them."""
    split = [f"{name}_{number}" for number in range(members)]
    for one in split:
        net.place(one).place(f"{one}_done")
        net.transition(
            f"{one}_acts", one, f"{one}_done", action=_runs(one, "data.item", required=False)
        )
    net.transition(f"{name}_begin", source, split, as_group=True)
    done = [f"{one}_done" for one in split]
    net.transition(f"{name}_end", done, target, join=Join(into=f"data.{name}"))


def hierarchical(members: int, subtasks: int, attempts: int) -> NetDefinition:
    """A leader plans, members work on the subtasks, the leader makes one answer of them."""
    net = _begun().place("planned").place("subtask").place("done").place("collected")
    net.transition("plan", "task", "planned", action=_runs("leader", "data.plan"))
    fork = Fork(over="data.plan.subtasks", most=subtasks, empty_to="collected")
    unplanned = ErrorPolicy(then="route", to_place="collected")
    net.transition("divide", "planned", "subtask", fork=fork, on_error=unplanned)
    for number in range(members):
        work = _runs(f"worker_{number}", "data.item", attempts, required=False)
        mine = [field("data.item.member").equals(f"worker_{number}")] if number else []
        net.transition(
            f"work_{number}", "subtask", "done", when=mine, priority=1 if number else 0, action=work
        )
    net.transition("collect", "done", "collected", join=Join(deadline_seconds=300))
    net.transition("synthesise", "collected", "answered", action=_runs("leader", "data.answer"))
    return net.build()


def pipeline(members: int, attempts: int) -> NetDefinition:
    """Each member works on what the one before has made."""
    net = NetBuilder()
    for number in range(members):
        net.place(f"step_{number}", "initial" if number == 0 else "normal")
    net.place(f"step_{members}", "terminal")
    for number in range(members):
        action = _runs(f"worker_{number}", f"data.outputs.step_{number}", attempts)
        net.transition(f"work_{number}", f"step_{number}", f"step_{number + 1}", action=action)
    return net.build()


def collaborative(members: int, rounds: int) -> NetDefinition:
    """All answer, one merges; where they do not agree they do it once more."""
    net = _begun().place("heard").place("merged")
    _side_by_side(net, "answer", "task", members, "heard")
    net.transition("merge", "heard", "merged", action=_runs("leader", "data.merged"))
    agreed = field("data.merged.agreement") > 0.6
    net.transition("agree", "merged", "answered", when=[agreed], priority=2)
    if rounds > 1:
        net.transition("differ", "merged", "task", most=rounds - 1, priority=1)
    net.transition("leave", "merged", "answered")
    return net.build()


def democratic(members: int) -> NetDefinition:
    """All propose, all vote; a tie is decided by the leader."""
    net = _begun().place("proposed").place("voted").place("counted")
    _side_by_side(net, "propose", "task", members, "proposed")
    _side_by_side(net, "vote", "proposed", members, "voted")
    count = TransformAction(expressions={"data.votes": "size(data.vote)"})
    net.transition("count", "voted", "counted", action=count)
    tie = field("data.winner").exists()
    net.transition("elect", "counted", "answered", when=[tie], priority=1)
    net.transition("break_tie", "counted", "answered", action=_runs("leader", "data.answer"))
    return net.build()


def debate(members: int, rounds: int) -> NetDefinition:
    """All propose; in each round all criticise and revise; a judge decides."""
    net = _begun().place("standing").place("criticised").place("judged").place("more")
    _side_by_side(net, "propose", "task", members, "standing")
    agree = [field("data.agreed").equals(value=True)]
    net.transition("settle", "standing", "judged", when=agree, priority=2)
    net.transition("dispute", "standing", "more", most=rounds, priority=1)
    net.transition("close", "standing", "judged")
    _side_by_side(net, "criticise", "more", members, "criticised")
    _side_by_side(net, "revise", "criticised", members, "standing")
    net.transition("judge", "judged", "answered", action=_runs("judge", "data.answer"))
    return net.build()


def handoff(members: int, hops: int) -> NetDefinition:
    """One member is active, and says who is next, if anybody."""
    net = _begun().place("spoken")
    for number in range(members):
        mine = [field("data.said.next").equals(f"member_{number}")] if number else []
        net.transition(
            f"act_{number}",
            "task",
            "spoken",
            when=mine,
            priority=1 if number else 0,
            action=_runs(f"member_{number}", "data.said"),
        )
    net.transition(
        "hand_over",
        "spoken",
        "task",
        when=[field("data.said.next").exists()],
        most=hops,
        priority=1,
    )
    net.transition("answer", "spoken", "answered")
    return net.build()


def critic_loop(rounds: int) -> NetDefinition:
    """One writes, a critic scores; it is revised until the score is good, or rounds are over."""
    net = _begun().place("written").place("scored").place("poor")
    net.transition("write", "task", "written", action=_runs("writer", "data.text"))
    net.transition("keep", "written", "answered", when=[f"counters.review >= {rounds}"], priority=1)
    net.transition(
        "review", "written", "scored", most=rounds, action=_runs("critic", "data.review")
    )
    good = field("data.review.score") > 0.85
    net.transition("accept", "scored", "answered", when=[good], priority=1)
    net.transition("return", "scored", "poor")
    net.transition("revise", "poor", "written", action=_runs("writer", "data.text"))
    return net.build()


def group_chat(members: int, rounds: int) -> NetDefinition:
    """A model selects who speaks, round by round."""
    net = _begun().place("selected").place("spoken")
    net.transition("select", "task", "selected", action=_runs("selector", "data.next"))
    for number in range(members):
        mine = [field("data.next.name").equals(f"member_{number}")] if number else []
        net.transition(
            f"speak_{number}",
            "selected",
            "spoken",
            when=mine,
            priority=1 if number else 0,
            action=_runs(f"member_{number}", "data.said"),
        )
    net.transition(
        "go_on", "spoken", "task", most=rounds - 1, when=["!has(data.said.done)"], priority=1
    )
    net.transition("close", "spoken", "answered", action=_runs("selector", "data.answer"))
    return net.build()

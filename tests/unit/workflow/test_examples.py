"""The example workflows are sound, and the Python builder gives the same nets as their files."""

from pathlib import Path

import pytest

from actors.cli.workflows import definitions
from actors.workflow.core.proof.checking import check
from schemas.net_builder import NetBuilder, field, negated
from schemas.nets import (
    AgentRetryConfig,
    AgentTransitionConfig,
    ErrorPolicy,
    EventAction,
    EventTrigger,
    HttpAction,
    HumanAction,
    NetDefinition,
    PlaceAgentConfig,
    PlaceAgentSchedule,
    PlaceTimeout,
    PublishAction,
    RunBudget,
    TimerAction,
    ToolAction,
)

FOLDER = Path(__file__).parents[3] / "deploy" / "examples" / "workflows"
FILES = sorted(FOLDER.glob("*.yaml"))


def _document_review() -> NetDefinition:
    review = {
        "type": "object",
        "properties": {
            "approved": {"type": "boolean"},
            "score": {"type": ["integer", "null"]},
            "issues": {"type": ["array", "null"]},
        },
    }
    schema = {"type": "object", "properties": {"content": {"type": "string"}, "review": review}}
    judge = AgentTransitionConfig(
        agent_id="reviewer",
        task="{{data.content}}",
        input_mapping={
            "document_type": "metadata.document_type",
            "priority": "metadata.priority",
        },
        output_mapping={
            "data.review.approved": "output.approved",
            "data.review.score": "output.quality_score",
            "data.review.issues": "output.issues",
            "metadata.reviewed_by": "agent_id",
            "metadata.reviewed_at": "timestamp",
        },
        timeout_seconds=300,
        retry_config=AgentRetryConfig(max_attempts=3, retry_on_errors=["timeout", "rate_limit"]),
    )
    revise = AgentTransitionConfig(
        agent_id="content",
        task="Mend this text. {{data.review.issues}}\n\n{{data.content}}",
        input_mapping={
            "subject": "metadata.document_type",
            "grade_level": "metadata.grade_level",
            "objectives": "data.review.issues",
        },
        output_mapping={"data.content": "text"},
        timeout_seconds=300,
        required=False,
    )
    approved = field("data.review.approved").equals(value=True)
    good = field("data.review.score") > 70
    return (
        NetBuilder()
        .place("draft", "initial")
        .place("review", description="It waits for its reviewer.")
        .place("decided", description="It has been reviewed.", data_schema=schema)
        .place("needs_revision")
        .place("approved", "terminal")
        .place("rejected", "terminal")
        .place("unreviewed", "error", description="The reviewer has failed for good.")
        .transition("submit", "draft", "review", priority=1, when=[field("data.content").exists()])
        .transition("return_empty", "draft", "rejected", description="There is nothing to review.")
        .transition(
            "judge",
            "review",
            "decided",
            action=judge,
            on_error=ErrorPolicy(then="route", to_place="unreviewed"),
        )
        .transition("approve", "decided", "approved", priority=2, when=[approved, good])
        .transition("send_back", "decided", "needs_revision", priority=1, most=3)
        .transition("reject", "decided", "rejected")
        .transition("revise", "needs_revision", "review", action=revise)
        .build(agents=["reviewer", "content"], seconds=86400)
    )


def _content_classification() -> NetDefinition:
    has_category = field("data.category").exists()
    classify = PlaceAgentConfig(
        id="classify",
        agent_id="analytics",
        task='Answer with JSON: {"category": "lesson"}, "test" or "other".\n\n{{data.text}}\n',
        llm_config={"temperature": 0},
        answer_schema={
            "type": "object",
            "properties": {"category": {"enum": ["lesson", "test", "other"]}},
            "required": ["category"],
        },
        trigger_conditions=[negated(has_category)],
        output_mapping={"data.category": "output.category", "metadata.classified_by": "agent_id"},
        required=False,
        schedule=PlaceAgentSchedule(initial_delay_seconds=5, interval_seconds=60, max_executions=3),
        auto_transition="file",
    )
    ask = HumanAction(
        title="What kind of text is this?",
        assignee="editors",
        choices=["lesson", "test", "other"],
        output_mapping={"data.category": "choice", "metadata.classified_by": "by"},
    )
    category = field("data.category")
    return (
        NetBuilder()
        .place(
            "inbox",
            "initial",
            timeout=PlaceTimeout(seconds=600, to_place="unclear"),
            agents=[classify],
        )
        .place("classified")
        .place("unclear", "review")
        .place("lessons", "terminal")
        .place("tests", "terminal")
        .place("others", "terminal")
        .transition("file", "inbox", "classified", when=[has_category])
        .transition(
            "to_lessons", "classified", "lessons", priority=1, when=[category.equals("lesson")]
        )
        .transition("to_tests", "classified", "tests", priority=1, when=[category.equals("test")])
        .transition("to_others", "classified", "others")
        .transition(
            "decide",
            "unclear",
            "classified",
            action=ask,
            description="A person says what the text is.",
        )
        .trigger(
            EventTrigger(
                id="submitted", subject="content.submitted", data={"data.text": "data.text"}
            )
        )
        .build(agents=["analytics"])
    )


def _lead_follow_up() -> NetDefinition:
    enter = HttpAction(
        url="https://crm.example.com/api/leads",
        method="PUT",
        secret="crm",
        input_mapping={"name": "data.lead.name", "email": "data.lead.email"},
        output_mapping={"data.lead.crm_id": "body.id"},
        timeout_seconds=30,
        retry_config=AgentRetryConfig(max_attempts=5, backoff_seconds=10),
    )
    write = AgentTransitionConfig(
        agent_id="support",
        task="Write a short letter to {{data.lead.name}}. "
        "Letters before this one {{counters.write}}.",
        output_mapping={"data.letter": "text"},
        required=False,
    )
    answer = EventAction(
        subject="crm.lead_answered",
        condition="event.data.email == data.lead.email",
        timeout_seconds=259200,
    )
    net = NetBuilder().place("new", "initial")
    for name in ("entered", "due", "written", "silent", "won", "lost"):
        net.place(name)
    net.place("customers", "terminal").place("cold", "terminal").place("not_entered", "error")
    return (
        net.transition(
            "enter",
            "new",
            "entered",
            action=enter,
            on_error=ErrorPolicy(then="route", to_place="not_entered"),
        )
        .transition(
            "wait_for_morning",
            "entered",
            "due",
            action=TimerAction(cron="0 9 * * MON-FRI", zone="Europe/Berlin"),
        )
        .transition("write", ["due", "silent"], "written", priority=1, most=3, action=write)
        .transition("give_up", "silent", "lost")
        .transition(
            "await_answer",
            "written",
            "won",
            action=answer,
            on_error=ErrorPolicy(then="route", to_place="silent"),
        )
        .transition("tell_won", "won", "customers", action=PublishAction(subject="crm.lead_won"))
        .transition("tell_lost", "lost", "cold", action=PublishAction(subject="crm.lead_lost"))
        .trigger(
            EventTrigger(
                id="lead_created",
                subject="crm.lead_created",
                condition="has(event.data.email)",
                data={"data.lead": "data"},
            )
        )
        .build(
            agents=["support"],
            budget=RunBudget(limit_pico=200_000_000_000, final=["tell_won", "tell_lost"]),
        )
    )


def _support_triage() -> NetDefinition:
    def reads(server: str, tool: str, source: str, target: str) -> ToolAction:
        return ToolAction(
            server=server,
            tool=tool,
            input_mapping={"query": source},
            output_mapping={target: "output"},
            timeout_seconds=60,
            required=False,
        )

    draft = AgentTransitionConfig(
        agent_id="support",
        task="Draft an answer to: {{data.question}}",
        input_mapping={"articles": "data.articles", "past": "data.past"},
        output_mapping={"data.draft": "text"},
        retry_config=AgentRetryConfig(max_attempts=2),
    )
    note = {"type": "string", "description": "what to change"}
    approve = HumanAction(
        title="Send this answer?",
        assignee="support",
        choices=["send", "revise", "close"],
        form={"type": "object", "properties": {"note": note}},
        output_mapping={
            "data.choice": "choice",
            "data.note": "values.note",
            "metadata.approved_by": "by",
        },
        timeout_seconds=14400,
        escalate_to=["support_lead"],
    )
    send = ToolAction(
        server="helpscout",
        tool="createReply",
        arguments={"draft": False},
        input_mapping={"conversation_id": "data.conversation", "text": "data.draft"},
    )
    choice = field("data.choice")
    net = NetBuilder().place("new", "initial")
    for name in ("to_search", "to_draft", "searched", "looked_up", "drafted", "approval", "ready"):
        net.place(name)
    net.place("answered", "terminal").place("closed", "terminal").place("unsent", "error")
    names = ("question", "customer", "conversation")
    return (
        net.transition(
            "begin",
            "new",
            ["to_search", "to_draft"],
            as_group=True,
            description="The knowledge base and the customer's past are looked at side by side.",
        )
        .transition(
            "search",
            "to_search",
            "searched",
            action=reads("notion", "API-post-search", "data.question", "data.articles"),
        )
        .transition(
            "past",
            "to_draft",
            "looked_up",
            action=reads("helpscout", "searchConversations", "data.customer", "data.past"),
        )
        .transition("together", ["searched", "looked_up"], "drafted", mode="all")
        .transition("draft", "drafted", "approval", action=draft)
        .transition("approve", "approval", "ready", action=approve)
        .transition(
            "send",
            "ready",
            "answered",
            priority=2,
            when=[choice.equals("send")],
            action=send,
            on_error=ErrorPolicy(then="route", to_place="unsent"),
        )
        .transition(
            "revise", "ready", "drafted", priority=1, most=3, when=[choice.equals("revise")]
        )
        .transition("close", "ready", "closed")
        .trigger(
            EventTrigger(
                id="question",
                subject="support.question",
                data={
                    f"data.{name}": f"data.{name if name != 'question' else 'text'}"
                    for name in names
                },
            )
        )
        .build(agents=["support"])
    )


BUILT = {
    "content_classification": _content_classification,
    "document_review": _document_review,
    "lead_follow_up": _lead_follow_up,
    "support_triage": _support_triage,
}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_proved_sound(file: Path):
    (defined,) = definitions(str(file))
    proof = check(defined.net)

    assert defined.id == file.stem
    assert proof.findings == []
    assert proof.sound
    assert proof.executions


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_builder_gives_the_same_net_as_the_file(file: Path):
    (defined,) = definitions(str(file))

    assert BUILT[file.stem]() == defined.net


def test_every_example_is_built_both_ways():
    assert [file.stem for file in FILES] == sorted(BUILT)

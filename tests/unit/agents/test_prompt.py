from typing import Any

import pytest

from actors.agents.core.prompt import assemble, unused
from schemas.agents import AgentTool, Memory, Personality, Prompts
from schemas.executions import ExecuteAgent
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig, ToolDefinition
from schemas.problems import Problem
from tests.unit.agents.samples import agent, turn


def _user_message(template: str, context: dict[str, Any] | None = None) -> str:
    definition = agent(prompts=Prompts(user_template=template))
    execute = ExecuteAgent(agent_id="reviewer", task="Read this.", context=context or {})

    request = assemble(definition, execute, [])

    assert isinstance(request, GenerateRequest)
    return request.messages[-1].text


def test_a_request_holds_system_message_history_task_settings_and_tools():
    definition = agent(
        prompts=Prompts(system="You review.", user_template="Review: {input_data}"),
        personality=Personality(language_style="concise"),
        config=ModelConfig(temperature=0.2, max_tokens=300),
        tools=[AgentTool(name="search")],
    )
    execute = ExecuteAgent(agent_id="reviewer", task="Read this.")

    assert assemble(definition, execute, [turn(1)]) == GenerateRequest(
        provider=definition.provider,
        messages=[
            ChatMessage(role="system", content="You review.\n\nAnswer concisely."),
            ChatMessage(role="user", content="question 1"),
            ChatMessage(role="assistant", content="answer 1"),
            ChatMessage(role="user", content="Review: Read this."),
        ],
        config=definition.config,
        tools=[ToolDefinition(name="search")],
    )


def test_an_agent_without_instructions_sends_the_task_alone():
    request = assemble(agent(), ExecuteAgent(agent_id="reviewer", task="Read this."), [])

    assert request == GenerateRequest(
        provider=agent().provider,
        messages=[ChatMessage(role="user", content="Read this.")],
    )


@pytest.mark.parametrize(
    ("of_agent", "of_execution", "limit"),
    [(None, None, None), (300, None, 300), (None, 200, 200), (300, 200, 200), (200, 300, 200)],
)
def test_the_smaller_limit_of_tokens_counts(
    of_agent: int | None, of_execution: int | None, limit: int | None
):
    definition = agent(config=ModelConfig(max_tokens=of_agent, seed=7))
    execute = ExecuteAgent(agent_id="reviewer", task="Read this.", max_tokens=of_execution)

    request = assemble(definition, execute, [])

    assert isinstance(request, GenerateRequest)
    assert request.config == ModelConfig(max_tokens=limit, seed=7)


def test_the_template_may_use_any_key_of_the_context():
    text = _user_message(
        "{document_type} of {priority}: {input_data}",
        context={"document_type": "contract", "priority": {"level": 2}},
    )

    assert text == 'contract of {"level":2}: Read this.'


def test_what_the_template_does_not_use_is_warned_of():
    definition = agent(prompts=Prompts(user_template="{subject}: {input_data}"))
    context = {"subject": "x", "subjcet": "y", "token_id": "t", "input_data": "z"}
    execute = ExecuteAgent(agent_id="reviewer", task="Read this.", context=context)

    assert [(one.field, one.message) for one in unused(definition, execute)] == [
        ("context.subjcet", "the template does not use it; it uses input_data, subject")
    ]


def test_the_variables_of_a_workflow_come_from_the_context_and_are_empty_without_one():
    template = "[{token_id}][{current_place}][{token_metadata}][{workflow_id}][{history_count}]"
    context = {
        "token_id": "t-1",
        "current_place": "review",
        "token_metadata": {"urgent": True},
        "workflow_id": "w-1",
        "history_count": 4,
    }

    assert _user_message(template) == "[][][][][0]"
    assert _user_message(template, context=context) == '[t-1][review][{"urgent":true}][w-1][4]'


def test_the_task_is_the_input_data_whatever_the_context_says():
    assert _user_message("{input_data}", context={"input_data": "something else"}) == "Read this."


def test_a_context_cannot_smuggle_variables_into_the_message():
    assert _user_message("{a}", context={"a": "{input_data}"}) == "{input_data}"


def test_history_count_is_the_number_of_turns_that_go_in():
    definition = agent(
        prompts=Prompts(user_template="{history_count}: {input_data}"),
        memory=Memory(strategy="last_n", max_history=4),
    )

    request = assemble(
        definition,
        ExecuteAgent(agent_id="reviewer", task="Read this."),
        [turn(number) for number in range(12)],
    )

    assert isinstance(request, GenerateRequest)
    assert len(request.messages) == 5
    assert request.messages[-1].text == "2: Read this."


def test_a_message_that_grows_too_long_is_refused():
    definition = agent(prompts=Prompts(user_template="{input_data}" * 1000))
    execute = ExecuteAgent(agent_id="reviewer", task="x" * 100_000)

    request = assemble(definition, execute, [])

    assert isinstance(request, Problem)
    assert (request.code, request.field) == ("validation", "task")

"""The call of a model that an execution begins with: definition, task and history put together."""

from collections.abc import Sequence
from typing import Any

import msgspec

from actors.agents.core import history, template
from actors.agents.core.personality import system_prompt
from schemas.agents import AgentDefinition
from schemas.conversations import ConversationTurn
from schemas.executions import ExecuteAgent
from schemas.llm import (
    AnswerWarning,
    ChatMessage,
    ContentPart,
    GenerateRequest,
    ModelConfig,
    TextPart,
)
from schemas.problems import Problem

WORKFLOW_VARIABLES = ("token_id", "current_place", "token_metadata", "workflow_id")
"""Known to every template: empty text where the execution's context does not give them."""

MAX_WARNINGS = 20
MAX_NAME = 64


def assemble(
    definition: AgentDefinition, execute: ExecuteAgent, turns: Sequence[ConversationTurn]
) -> GenerateRequest | Problem:
    """Build the request: system message, history, the rendered user message, settings and tools.

    ``turns`` are the stored turns of the execution's session, oldest first; pass none without one.
    Refuses with ``validation`` as ``template.render`` does.
    """
    user = _rendered(definition, execute, len(turns))
    if isinstance(user, Problem):
        return user
    kept = history.window(turns, definition.memory, user)
    if len(kept) != len(turns):
        user = _rendered(definition, execute, len(kept))
    if isinstance(user, Problem):
        return user
    return GenerateRequest(
        provider=definition.provider,
        messages=[
            *_system(definition),
            *history.messages(kept),
            ChatMessage(role="user", content=_content(user, execute)),
        ],
        config=_config(definition.config, execute.max_tokens),
        tools=[tool.definition for tool in definition.tools if tool.definition is not None],
    )


def unused(definition: AgentDefinition, execute: ExecuteAgent) -> list[AnswerWarning]:
    """Warn of what the context holds and the template does not use: mostly a misspelt name."""
    used = template.names(definition.prompts.user_template) if execute.context else frozenset[str]()
    known = {*WORKFLOW_VARIABLES, *used, "history_count", "input_data"}
    extra = [name[:MAX_NAME] for name in execute.context if name not in known][:MAX_WARNINGS]
    wanted = ", ".join(sorted(used)) or "no variable"
    return [
        AnswerWarning(
            field=f"context.{name}", message=f"the template does not use it; it uses {wanted}"
        )
        for name in extra
    ]


def _content(text: str, execute: ExecuteAgent) -> str | list[ContentPart]:
    """The task as it is asked, and the images that go along with it."""
    return [TextPart(text=text), *execute.images] if execute.images else text


def _rendered(definition: AgentDefinition, execute: ExecuteAgent, turns: int) -> str | Problem:
    return template.render(definition.prompts.user_template, _variables(execute, turns))


def _variables(execute: ExecuteAgent, turns: int) -> dict[str, Any]:
    """The variables of the user template, the later source winning.

    ``history_count`` is the number of earlier turns that go into the call, unless the context says
    how long its token's history is. ``input_data`` is always the task.
    """
    return {
        **dict.fromkeys(WORKFLOW_VARIABLES, ""),
        "history_count": turns,
        **execute.context,
        "input_data": execute.task,
    }


def _system(definition: AgentDefinition) -> list[ChatMessage]:
    text = system_prompt(definition)
    return [ChatMessage(role="system", content=text)] if text else []


def _config(config: ModelConfig, max_tokens: int | None) -> ModelConfig:
    limits = [limit for limit in (config.max_tokens, max_tokens) if limit is not None]
    return msgspec.structs.replace(config, max_tokens=min(limits, default=None))

"""What is asked of the owner of a new execution: the request as the rules of its policy have it."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from actors.agents.core.checks import check
from actors.agents.core.complexity import measure
from actors.agents.core.rules import choose
from schemas.agents import AgentDefinition
from schemas.executions import MAX_TASK_CHARACTERS, Generate
from schemas.lifecycle import NO_POLICY, Accept, Origin
from schemas.llm import ChatMessage, GenerateRequest
from schemas.policy import Policy
from schemas.problems import Problem


def accept(origin: Origin, request: GenerateRequest, policy: Policy, *, timeout: float) -> Accept:
    """Build the command. What the rules decide is in the origin, and the policy is rid of them.

    ``timeout`` is in seconds.
    """
    if policy == NO_POLICY:
        # The very same: what is left at its default is not written to the journal.
        policy = NO_POLICY
    if policy.rules:
        measured = measure(origin.task, turns=_turns(request.messages), tools=len(request.tools))
        request, choices = choose(request, policy.rules, measured)
        origin = msgspec.structs.replace(origin, choices=list(choices))
        policy = msgspec.structs.replace(policy, rules=[])
    return Accept(origin=origin, request=request, timeout_seconds=timeout, policy=policy)


def plain_request(wanted: Generate, now: datetime) -> GenerateRequest | Problem:
    """Build the request of a plain generation, held to what a stored definition is held to.

    Refuses with ``validation``.
    """
    config = wanted.config
    if wanted.response_format is not None:
        config = msgspec.structs.replace(config, response_format=wanted.response_format)
    stand_in = AgentDefinition(
        id="llm",
        name="llm",
        provider=wanted.provider,
        version=1,
        created_at=now,
        updated_at=now,
        config=config,
        tools=wanted.tools,
        policy=wanted.policy,
    )
    if sum(len(message.text) for message in wanted.messages) > MAX_TASK_CHARACTERS:
        message = f"hold more than {MAX_TASK_CHARACTERS:,} characters"
        return Problem(code="validation", message=message, field="messages")
    return check(stand_in) or GenerateRequest(
        provider=wanted.provider, messages=wanted.messages, config=config, tools=wanted.tools
    )


def task_of(messages: Sequence[ChatMessage]) -> str:
    """Return the last thing the user said, as the task of a plain generation."""
    said = [message.text for message in messages if message.role == "user"]
    return said[-1] if said else ""


def _turns(messages: Sequence[ChatMessage]) -> int:
    return sum(message.role == "assistant" for message in messages)

"""What is asked of the owner of a new execution: the request as the rules of its policy have it."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from actors.agents.core.checks import checking
from actors.agents.core.complexity import measure
from actors.agents.core.rules import choose
from schemas.agents import AgentDefinition, AgentTool
from schemas.beginnings import MOST_DEPTH, Beginner
from schemas.executions import MAX_TASK_CHARACTERS, Generate
from schemas.lifecycle import NO_POLICY, Accept, Origin
from schemas.llm import ChatMessage, GenerateRequest, ToolDefinition
from schemas.policy import Policy
from schemas.problems import Problem
from schemas.provider_specs import BY_KIND, spec_of
from schemas.steps import Steps

BATCH_SECONDS = 86_400.0
"""Within this time providers promise the answer of a batch."""

BATCH_ATTEMPTS = 100
"""Workers that come and go in a day take over the same batch: none of them repeats a call."""


class RequestBounds(NamedTuple):
    """Of one execution: how many seconds it may take, how often it may be tried."""

    timeout: float
    attempts: int


def bounds(wanted: Generate, *, timeout: float, attempts: int) -> RequestBounds:
    """Return how long a plain generation may take, and how often it may be tried.

    ``timeout`` (seconds) and ``attempts`` count where neither the request nor a batch says so.
    """
    if wanted.batch:
        timeout, attempts = BATCH_SECONDS, BATCH_ATTEMPTS
    limits = wanted.limits
    return RequestBounds(limits.timeout_seconds or timeout, limits.max_attempts or attempts)


MAX_PARTS = 20_000
"""Parts of all messages of a plain generation, with calls of tools and blocks of providers."""


def accept(
    origin: Origin, request: GenerateRequest, policy: Policy, *, timeout: float
) -> Steps[Accept]:
    """Build the command. What the rules decide is in the origin, and the policy is rid of them.

    ``timeout`` is in seconds.
    """
    if policy == NO_POLICY:
        # The very same: what is left at its default is not written to the journal.
        policy = NO_POLICY
    if policy.rules:
        turns, tools = _turns(request.messages), len(request.tools)
        measured = yield from measure(origin.task, turns=turns, tools=tools)
        request, choices = choose(request, policy.rules, measured)
        origin = msgspec.structs.replace(origin, choices=list(choices))
        policy = msgspec.structs.replace(policy, rules=[])
    return Accept(origin=origin, request=request, timeout_seconds=timeout, policy=policy)


def begun_by(beginner: Beginner | None, wanted: Accept) -> Accept | Problem:
    """Return the command of an execution that is begun for an entity, which is told of its end.

    Refuses with ``tool_limit`` what would lie in too many others.
    """
    if beginner is None:
        return wanted
    depth = beginner.depth + 1
    if depth > MOST_DEPTH:
        return Problem(code="tool_limit", message=f"executions lie in each other {MOST_DEPTH} deep")
    origin = msgspec.structs.replace(wanted.origin, depth=depth, scope=beginner.scope)
    return msgspec.structs.replace(wanted, origin=origin, reply_to=beginner.reply_to)


def plain_request(wanted: Generate, now: datetime) -> Steps[GenerateRequest | Problem]:
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
        tools=[_described(tool) for tool in wanted.tools],
        policy=wanted.policy,
    )
    if sum(len(message.text) for message in wanted.messages) > MAX_TASK_CHARACTERS:
        message = f"hold more than {MAX_TASK_CHARACTERS:,} characters"
        return Problem(code="validation", message=message, field="messages")
    if sum(map(_size, wanted.messages)) > MAX_PARTS:
        message = f"hold more than {MAX_PARTS:,} parts, calls and blocks"
        return Problem(code="validation", message=message, field="messages")
    found = yield from checking(stand_in)
    return (
        found
        or _unbatched(wanted)
        or GenerateRequest(
            provider=wanted.provider,
            messages=wanted.messages,
            config=config,
            tools=wanted.tools,
            batch=wanted.batch,
        )
    )


def _described(tool: ToolDefinition) -> AgentTool:
    return AgentTool(name=tool.name, description=tool.description, parameters=tool.parameters)


def _unbatched(wanted: Generate) -> Problem | None:
    """Refuse a batch where one of the providers it may come to has none."""
    if not wanted.batch:
        return None
    fallbacks = enumerate(wanted.policy.fallbacks)
    places = {f"policy.fallbacks.{place}.provider": one.provider for place, one in fallbacks}
    for field, provider in {"batch": wanted.provider, **places}.items():
        if spec_of(provider).batches is None:
            batched = " and ".join(one.name for one in BY_KIND.values() if one.batches)
            message = f"only the providers {batched} answer in batches"
            return Problem(code="validation", message=message, field=field)
    return None


def _size(message: ChatMessage) -> int:
    """Count what a message is written of: each takes some microseconds, several times."""
    parts = 1 if isinstance(message.content, str) else len(message.content)
    return parts + len(message.tool_calls) + len(message.blocks)


def task_of(messages: Sequence[ChatMessage]) -> str:
    """Return the last thing the user said, as the task of a plain generation."""
    said = [message.text for message in messages if message.role == "user"]
    return said[-1] if said else ""


def _turns(messages: Sequence[ChatMessage]) -> int:
    return sum(message.role == "assistant" for message in messages)

"""Requests too large for commands and events: parted from them, and read again where needed. Pure.

What an owner needs of a request are the providers; the rest is in a ``Prompt``, stored apart. The
task of an execution is shown in its record and in its conversation, so a long one that is only in
the prompt is put in its place when these are published.
"""

import msgspec

from actors.agents.core.folding import LEAST_CHARACTERS, folded
from actors.agents.core.state import Execution
from actors.agents.core.tool_events import remembered
from schemas.bodies import BodyReference, goes_by_reference
from schemas.conversations import ConversationTurn
from schemas.executions import ExecutionRecord
from schemas.lifecycle import NO_POLICY, Accept, Prompt
from schemas.llm import ChatMessage, EmbedRequest, GenerateRequest, ModelRequest, ToolRequest
from schemas.policy import Fallback, Policy
from schemas.tools import Turn

_prompt = msgspec.json.Decoder(Prompt)
_record = msgspec.json.Decoder(ExecutionRecord)


def is_large(wanted: Accept, size: int) -> bool:
    """Say whether the request of a command of so many encoded bytes is to be stored apart."""
    if isinstance(wanted.request, ToolRequest):
        return False
    is_history = wanted.origin.session is not None
    return goes_by_reference(size, repeats=is_history)


def prompt_of(wanted: Accept) -> Prompt:
    """Return what is stored of a large request before the execution is accepted."""
    short, place = folded(wanted.origin, wanted.request)
    task = short.task if len(short.task) >= LEAST_CHARACTERS else ""
    return Prompt(request=wanted.request, policy=wanted.policy, task=task, task_at=place)


def referring(wanted: Accept, prompt: BodyReference) -> Accept:
    """Return the command that refers to a stored prompt, with what an owner needs of it."""
    origin, request = wanted.origin, wanted.request
    if len(origin.task) >= LEAST_CHARACTERS:
        origin = msgspec.structs.replace(origin, task="")
    return msgspec.structs.replace(
        wanted,
        origin=origin,
        request=_provider(request),
        policy=_providers(wanted.policy),
        prompt=prompt,
    )


def lacking(state: Execution) -> BodyReference | None:
    """Return the prompt that has the task of an execution; None where the state has it."""
    has_task = state.origin.kind == "generate"
    return state.prompt if has_task and not state.origin.task else None


def grown_prompt(before: Execution | None) -> BodyReference | None:
    """Return the prompt that holds calls and results of an execution; None where none does."""
    rounds = before.tools if before is not None else None
    return before.prompt if before is not None and rounds is not None and rounds.parted else None


def bodies(state: Execution) -> tuple[BodyReference, ...]:
    """Return the bodies that are stored for an execution."""
    return (state.prompt,) if state.prompt is not None else ()


def filled(
    message: msgspec.Struct, prompt: bytes | None, record: bytes | None
) -> msgspec.Struct | None:
    """Put the task into a message that lacks it: a record, or the turn of a conversation.

    It is in the ``prompt``, or, where that is gone, in the ``record`` that is stored. Where both
    are gone the execution has ended without an answer or its turn was published before: its record
    goes without the task, and its turn not at all.
    """
    task = _task(prompt, record)
    if isinstance(message, ExecutionRecord):
        return msgspec.structs.replace(message, task=task or "")
    if isinstance(message, ConversationTurn):
        return _whole_turn(message, task, prompt)
    return message


def _whole_turn(
    turn: ConversationTurn, task: str | None, prompt: bytes | None
) -> ConversationTurn | None:
    """Put into a turn its task, unless that is there, and what tools have said before."""
    if not turn.user and task is None:
        return None
    earlier = _own_messages(_prompt.decode(prompt)) if prompt is not None else []
    turns = [Turn(message=one) for one in [*earlier, *turn.messages]]
    return msgspec.structs.replace(turn, user=turn.user or task or "", messages=remembered(turns))


def _own_messages(stored: Prompt) -> list[ChatMessage]:
    """Return the messages that an execution has added to its conversation by itself."""
    request = stored.request
    if stored.own_from is None or not isinstance(request, GenerateRequest):
        return []
    return request.messages[stored.own_from :]


def _task(prompt: bytes | None, record: bytes | None) -> str | None:
    if prompt is not None:
        return task_of(_prompt.decode(prompt))
    return _record.decode(record).task if record is not None else None


def task_of(prompt: Prompt) -> str:
    """Return the task of an execution whose origin lacks it."""
    place, request = prompt.task_at, prompt.request
    if place is None or not isinstance(request, GenerateRequest):
        return prompt.task
    text = request.messages[place.message].text
    return text[place.start : place.start + place.length]


def _provider(request: ModelRequest) -> ModelRequest:
    """Return no more of a request than which provider is asked, and in which way."""
    if isinstance(request, ToolRequest):
        return request
    if isinstance(request, EmbedRequest):
        return EmbedRequest(provider=request.provider, texts=[])
    return GenerateRequest(provider=request.provider, messages=[], batch=request.batch)


def _providers(policy: Policy) -> Policy:
    """Return no more of a policy than which providers it falls back on."""
    fallbacks = [Fallback(provider=each.provider) for each in policy.fallbacks]
    return Policy(fallbacks=fallbacks) if fallbacks else NO_POLICY

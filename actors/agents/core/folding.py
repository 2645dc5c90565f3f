"""The task of an execution, journalled once: it mostly stands in the prompt as well. Pure."""

import msgspec

from schemas.lifecycle import Origin, TaskPlace
from schemas.llm import GenerateRequest, ModelRequest

LEAST_CHARACTERS = 256
"""A shorter task takes hardly more room than to say where it stands."""


def folded(origin: Origin, request: ModelRequest) -> tuple[Origin, TaskPlace | None]:
    """Return the origin without its task, and where in the request that stands.

    Where it does not, because a template changes it, or where it is short, it stays.
    """
    task = origin.task
    if len(task) < LEAST_CHARACTERS or not isinstance(request, GenerateRequest):
        return origin, None
    for number in range(len(request.messages) - 1, -1, -1):
        message = request.messages[number]
        if message.role == "user" and (start := _place(message.text, task)) >= 0:
            place = TaskPlace(message=number, start=start, length=len(task))
            return msgspec.structs.replace(origin, task=""), place
    return origin, None


def _place(text: str, task: str) -> int:
    """Return where a task begins in a text, -1 if it does not stand there.

    Mostly it is the whole text. To search 50 KB for themselves takes forty times as long as to
    compare them.
    """
    return 0 if text == task else text.find(task)


def unfolded(origin: Origin, request: ModelRequest, place: TaskPlace | None) -> Origin:
    """Return the origin with its task in place again.

    Raises:
        IndexError: the request has no such message.
    """
    if place is None or not isinstance(request, GenerateRequest):
        return origin
    text = request.messages[place.message].text
    return msgspec.structs.replace(origin, task=text[place.start : place.start + place.length])

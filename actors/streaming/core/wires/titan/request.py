"""The body of an invocation of a Titan text model, which knows no roles, tools or images."""

from typing import Any

from actors.streaming.core.writing.turns import system_text, under
from schemas.llm import ChatMessage, GenerateRequest


def body(request: GenerateRequest) -> dict[str, Any]:
    """Build the JSON body of one call. A conversation becomes one text, as Titan's guide has it."""
    config = request.config
    values = {
        "maxTokenCount": config.max_tokens,
        "temperature": config.temperature,
        "topP": config.top_p,
        "stopSequences": config.stop_sequences or None,
    }
    settings = {name: value for name, value in values.items() if value is not None}
    written: dict[str, Any] = {"inputText": _text(request.messages)}
    if settings:
        written["textGenerationConfig"] = settings
    return under(config.extra, written)


def _text(messages: list[ChatMessage]) -> str:
    system, turns = system_text(messages), [one for one in messages if one.role != "system"]
    head = f"{system}\n\n" if system else ""
    if len(turns) == 1:
        return head + turns[0].text
    lines = (f"{'Bot' if one.role == 'assistant' else 'User'}: {one.text}" for one in turns)
    return head + "\n".join(lines) + "\nBot:"

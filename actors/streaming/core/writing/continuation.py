"""Going on with an answer that was cut: the published part becomes the beginning of the next one.

Some providers take a conversation that ends with the assistant's words and write on from there.
Others answer anew, or refuse it, so who does it is known by its documentation.
"""

from typing import NamedTuple

import msgspec

from actors.streaming.core.tokens import estimate
from schemas.llm import ChatMessage, GenerateRequest, ModelConfig
from schemas.policy import Continuation
from schemas.provider_specs import spec_of
from schemas.providers import Provider


class Beginning(NamedTuple):
    """The part of an answer that has been published."""

    text: str
    has_reasoning: bool = False
    has_tool_calls: bool = False


def takes_beginnings(provider: Provider, wish: Continuation) -> bool:
    """Say whether a provider may be sent the beginning of an answer."""
    if wish == "never":
        return False
    models = spec_of(provider).continues
    return wish == "always" or (models is not None and models.match(provider.model) is not None)


def is_continuable(beginning: Beginning, config: ModelConfig) -> bool:
    """Say whether an answer can be gone on with.

    A tool call is whole or nothing, reasoning cannot be handed over, and the grammar of structured
    output begins at the beginning.
    """
    plain = not (beginning.has_reasoning or beginning.has_tool_calls)
    return bool(beginning.text.strip()) and plain and config.response_format is None


def continued(request: GenerateRequest, text: str) -> GenerateRequest:
    """Ask for the rest of an answer that begins with ``text``.

    The trailing white space is not sent, because Anthropic refuses it; ``joint`` drops what the
    model then writes of it again. The limit of tokens shrinks by what is there already.
    """
    limit = request.config.max_tokens
    left = None if limit is None else max(limit - estimate.tokens(text), 1)
    return msgspec.structs.replace(
        request,
        messages=[*request.messages, ChatMessage(role="assistant", content=text.rstrip())],
        config=msgspec.structs.replace(request.config, max_tokens=left),
    )


class Joint:
    """Joins the rest of an answer to its beginning, in pieces cut anywhere."""

    def __init__(self, beginning: str) -> None:
        self._spaces = beginning[len(beginning.rstrip()) :]
        self._at_seam = bool(self._spaces)

    def feed(self, text: str) -> str:
        """Return a piece of the rest without the white space that the beginning ends with."""
        if not self._at_seam:
            return text
        kept = text.lstrip()
        self._at_seam = not kept
        return kept

"""What every model provider offers to the generation, and nothing of how."""

from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from actors.streaming.adapters.endpoint import CallContext
from actors.streaming.core.deltas import Delta
from schemas.llm import Answer, GenerateRequest
from schemas.usage import Usage


class ModelCall(Protocol):
    """One call of a model. It begins on entry; leaving early closes the connection at once.

    Entry and ``read`` raise ProviderFaultError: the provider refused, broke off, fell silent or
    spoke nonsense. A call that has raised is over.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers of the provider's last answer, names in lower case; none before it."""
        ...

    @property
    def foreign(self) -> bool:
        """Whether no secret of the operator went along: then he does not pay for the call."""
        ...

    async def __aenter__(self) -> Self:
        """Send the request and wait until the provider begins to answer."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the call."""
        ...

    async def read(self) -> list[Delta] | None:
        """Return what one read of the connection brought, maybe nothing; None at the end."""
        ...

    def answer(self) -> Answer:
        """Return the whole answer, after the end."""
        ...

    def spent(self) -> Usage | None:
        """Return what the call has used so far, marked by its quality; None if it cost nothing."""
        ...


class ModelProvider(Protocol):
    """Calls models of one kind of provider; one object serves a whole process."""

    def status(self, request: GenerateRequest) -> str:
        """Say what is about to be asked, for a person to read."""
        ...

    def call(self, request: GenerateRequest, context: CallContext) -> ModelCall:
        """Prepare a call. Nothing is sent before it is entered."""
        ...

"""Tool calls while they arrive in pieces."""

from collections.abc import Iterator

from actors.streaming.core.faults import fault
from schemas.llm import ToolCall

MAX_CALLS = 128
MAX_ARGUMENT_BYTES = 512 * 1024
"""The arguments of one call must fit into one event on the stream."""


class GrowingCall:
    """A call while its pieces arrive."""

    def __init__(self, call_id: str = "", name: str = "") -> None:
        self.id = call_id
        self.name = name
        self._arguments: list[str] = []
        self.size = 0

    @property
    def arguments(self) -> str:
        """The arguments as far as they have come."""
        return "".join(self._arguments)

    def grow(self, text: str) -> None:
        """Add a piece of the arguments' JSON text.

        Raises:
            ProviderFaultError: the arguments are longer than any honest ones.
        """
        self._arguments.append(text)
        self.size += len(text.encode("utf-8", "replace"))
        if self.size > MAX_ARGUMENT_BYTES:
            message = "The provider's tool call is too large."
            raise fault("provider_error", message, retryable=False)

    def replace(self, text: str) -> None:
        """Take the arguments whole, in place of the pieces that have come."""
        self._arguments, self.size = [], 0
        self.grow(text)


class ToolCalls:
    """The calls of one answer, in the order in which they began."""

    def __init__(self) -> None:
        self._calls: list[GrowingCall] = []

    def begin(self, call_id: str = "", name: str = "") -> GrowingCall:
        """Begin another call.

        Raises:
            ProviderFaultError: there are more than any honest answer has.
        """
        if len(self._calls) >= MAX_CALLS:
            raise fault("provider_error", "The provider sent too many tool calls.", retryable=False)
        call = GrowingCall(call_id, name)
        self._calls.append(call)
        return call

    @property
    def size(self) -> int:
        """The bytes of all arguments that have come."""
        return sum(call.size for call in self._calls)

    @property
    def newest(self) -> GrowingCall | None:
        """The call that began last."""
        return self._calls[-1] if self._calls else None

    def finished(self) -> list[ToolCall]:
        """Return the calls. Empty arguments mean an empty object.

        A call that the provider gave no id is named by its place.
        """
        return [
            ToolCall(
                id=call.id or f"call_{place}", name=call.name, arguments=call.arguments or "{}"
            )
            for place, call in enumerate(self._calls)
        ]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[GrowingCall]:
        return iter(self._calls)

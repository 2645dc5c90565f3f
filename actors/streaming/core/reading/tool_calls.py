"""Tool calls while they arrive in pieces."""

from collections.abc import Iterator, Sequence
from typing import Any

from actors.streaming.core.decoding import arguments
from actors.streaming.core.errors.faults import fault
from schemas.llm import ToolCall

MAX_CALLS = 128
MAX_ARGUMENT_BYTES = 512 * 1024
"""The arguments of one call must fit into one event on the stream."""


class GrowingCall:
    """A call while its pieces arrive. ``extra`` is what a server has sent beside it.

    ``verbatim`` says that its input is a text of any kind, in which nothing is a repetition.
    """

    def __init__(self, call_id: str = "", name: str = "") -> None:
        self.id = call_id
        self.name = name
        self.extra: dict[str, Any] | None = None
        self.verbatim = False
        self._arguments: list[str] = []
        self.size = 0

    @property
    def pieces(self) -> Sequence[str]:
        """The pieces of the arguments, as they have come."""
        return self._arguments

    @property
    def arguments(self) -> str:
        """The arguments as far as they have come."""
        return "".join(self._arguments)

    @property
    def settled(self) -> str:
        """The arguments without what was sent twice."""
        return self.arguments if self.verbatim else arguments.settled(self._arguments)

    @property
    def is_blank(self) -> bool:
        """Whether nothing was told of the arguments; an empty object is something."""
        return not any(piece.strip() for piece in self._arguments)

    @property
    def is_whole(self) -> bool:
        """Whether the arguments are complete: a JSON object."""
        last = self._arguments[-1].rstrip() if self._arguments else ""
        # Joining all pieces at each of them would cost the square of their number.
        return last[-1:] in {"", "}"} and arguments.is_whole(self.settled)

    def grow(self, text: str) -> None:
        """Add a piece of the arguments' JSON text.

        Raises:
            ProviderFaultError: the arguments are longer than any honest ones.
        """
        self._arguments.append(text)
        self.size += len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
        if self.size > MAX_ARGUMENT_BYTES:
            message = "The provider's tool call is too large."
            raise fault("provider_error", message, retryable=False)

    def replace(self, text: str) -> None:
        """Take the arguments whole, in place of the pieces that have come."""
        self._arguments, self.size = [], 0
        self.grow(text)

    def absorb(self, later: "GrowingCall") -> None:
        """Take in a call that has turned out to be a later part of this one, or the same again."""
        self.id, self.name = self.id or later.id, self.name or later.name
        self.extra = self.extra or later.extra
        if not arguments.is_same(self.settled, later.settled):
            for piece in later.pieces:
                self.grow(piece)


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

    def remove(self, call: GrowingCall) -> None:
        """Take back a call that has turned out to be none of its own."""
        self._calls.remove(call)

    def finished(self) -> list[ToolCall]:
        """Return the calls. Empty arguments mean an empty object.

        A call that the provider gave no id is named by its place.
        """
        return [
            ToolCall(id=call.id or f"call_{place}", name=call.name, arguments=call.settled or "{}")
            for place, call in enumerate(self._calls)
        ]

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[GrowingCall]:
        return iter(self._calls)

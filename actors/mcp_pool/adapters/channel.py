"""What carries frames to a server and back: HTTP exchanges, or a pipe that one task owns."""

from collections.abc import Mapping
from typing import Protocol

from actors.mcp_pool.core.wire import RpcFrame, RpcRequest
from actors.mcp_pool.core.wire_hearing import Hearing


class Channel(Protocol):
    """Carries requests. What a server says besides answers it hands to its ``hearing``.

    All methods but ``give_up`` and ``close`` raise ``UpstreamError``.
    """

    hearing: Hearing

    async def start(self) -> None:
        """Connect, where there is something to connect before the first request."""
        ...

    async def ask(self, outgoing: RpcRequest) -> RpcFrame:
        """Send a request and return its answer. Cancelling affects no other request."""
        ...

    async def tell(self, frame: bytes) -> None:
        """Send a notification."""
        ...

    def give_up(self, outgoing: RpcRequest) -> None:
        """Let the server know, in the background, that nobody waits for an answer any longer.

        It is called for requests that were cancelled, and for those whose deadline has passed.
        """
        ...

    async def hear(self) -> None:
        """Take what the server says outside requests, until it is closed or the server refuses."""
        ...

    def settle(self, headers: Mapping[str, str], *, stateless: bool) -> None:
        """Take what every further request carries, once a revision is agreed on."""
        ...

    async def close(self) -> None:
        """Give everything back, in 10 s at most."""
        ...

"""Reading from the server: messages go straight to who wants them, all else to nats-py."""

from collections.abc import Awaitable, Callable

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from bus.connection.frames import LINE_END, Frame, Incomplete, next_frame
from bus.ports import Delivery

Receiver = Callable[[Delivery], None]
"""Takes a message within the read from the socket, so it must be short and never wait."""


class DirectParser(Parser):
    """Takes the place of the parser of nats-py.

    That one puts each message into a queue and wakes a task for it, which costs as much as a
    receipt's whole handling. Here subscriptions with a ``Receiver`` get theirs at once; those of
    other subscriptions, and the words of the protocol, go the way of nats-py.
    """

    def __init__(self, client: Client, report: Callable[[Exception], Awaitable[None]]) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]  an open type
        self._client = client
        self._report = report
        self.receivers: dict[int, Receiver] = {}

    def reset(self) -> None:
        """Forget what was half read: the connection is a new one."""
        super().reset()
        self._rest = bytearray()
        self._needed = 0
        self._begun = False

    async def parse(self, data: bytes = b"") -> None:
        """Take what one read of the socket brought.

        Raises:
            nats.errors.ProtocolError: this is not what a NATS server says.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        self._begun = True
        at = await self._take_frames(data)
        # A lost connection resets the parser within a word; the rest of it is then worth nothing.
        if self._begun:
            self._rest += data[at:]

    async def _take_frames(self, data: bytes) -> int:
        """Handle what is whole, and return where the rest begins."""
        at, self._needed = 0, 0
        while at < len(data) and self._begun:
            try:
                frame = next_frame(data, at)
            except ValueError as error:
                raise ProtocolError(str(error)) from None
            if isinstance(frame, Incomplete):
                self._needed = frame.needed
                return at
            if frame is None:
                end = data.find(LINE_END, at) + 2
                if end < 2:  # noqa: PLR2004  the length of a line's end: there is none yet
                    return at
                await super().parse(data[at:end])
                at = end
                continue
            at = frame.end
            await self._take(frame)
        return at

    async def _take(self, frame: Frame) -> None:
        receiver = self.receivers.get(frame.sid)
        if receiver is None:
            # What the parser of nats-py does.
            await self._client._process_msg(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                frame.sid, frame.subject, frame.reply, frame.data, frame.headers
            )
            return
        try:
            receiver(frame.delivery())
        except Exception as error:  # noqa: BLE001  one bad message must not end the connection
            await self._report(error)

"""Reading from the server: messages go straight to who wants them, all else to nats-py."""

from collections.abc import Callable

from nats.aio.client import Client
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from bus.connection.frames import LINE_END, Begun, Frame, IncompleteFrame, begun, next_frame
from bus.ports import Receiver

Gate = Callable[[Begun], bool]
"""Says whether a message that does not come in one piece is to be received at all."""


class DirectParser(Parser):
    """Takes the place of the parser of nats-py.

    That one puts each message into a queue and wakes a task for it, which costs as much as a
    receipt's whole handling. Here subscriptions with a ``Receiver`` get theirs at once; those of
    other subscriptions, and the words of the protocol, go the way of nats-py.

    Where a subscription has a ``Gate``, what that does not want is dropped as it comes: to put
    large messages together only to refuse them takes longer than it takes to send them.
    """

    def __init__(self, client: Client, report: Callable[[Exception], None]) -> None:
        super().__init__(client)  # pyright: ignore[reportUnknownMemberType]  an open type
        self._client = client
        self._report = report
        self.receivers: dict[int, Receiver] = {}
        self.gates: dict[int, Gate] = {}

    def reset(self) -> None:
        """Forget what was half read: the connection is a new one."""
        super().reset()
        self._rest = bytearray()
        self._needed = 0
        self._unwanted = 0
        self._begun = False
        self._is_parsing = False

    @property
    def is_receiving(self) -> bool:
        """Whether a message has begun to arrive and is not whole."""
        return self._unwanted > 0 or (self._needed > 0 and bool(self._rest))

    def take(self, data: bytes) -> bytes:
        """Handle the messages for receivers that come first; return what is left for ``parse``."""
        if self._is_parsing or not self._begun:
            return data
        data = self._with_rest(data)
        at = self._take_frames(data, 0)
        return b"" if self._is_kept(data, at) else data[at:]

    async def parse(self, data: bytes = b"") -> None:
        """Take what one read of the socket brought.

        Raises:
            nats.errors.ProtocolError: this is not what a NATS server says.
        """
        self._begun = self._is_parsing = True
        try:
            data = self._with_rest(data)
            at = self._take_frames(data, 0)
            # A lost connection resets the parser within a word; the rest is then worth nothing.
            while self._begun and not self._is_kept(data, at):
                at = self._take_frames(data, await self._take_other(data, at))
        finally:
            self._is_parsing = False

    def _with_rest(self, data: bytes) -> bytes:
        """Return what is to be read now: nothing while a message is known not to be whole."""
        if self._unwanted:
            dropped = min(self._unwanted, len(data))
            self._unwanted -= dropped
            data = data[dropped:]
        if not self._rest:
            return data
        self._rest += data
        if len(self._rest) < self._needed:
            return b""
        data = bytes(self._rest)
        self._rest.clear()
        return data

    def _take_frames(self, data: bytes, at: int) -> int:
        """Handle whole messages for receivers, and return where something else begins."""
        size = len(data)
        while at < size:
            try:
                frame = next_frame(data, at)
            except ValueError:
                return at
            if not isinstance(frame, Frame):
                return at
            receiver = self.receivers.get(frame.sid)
            if receiver is None:
                return at
            at = frame.end
            try:
                receiver(frame.delivery())
            except Exception as error:  # noqa: BLE001  one bad message must not end the connection
                self._report(error)
        return at

    def _is_kept(self, data: bytes, at: int) -> bool:
        """Say whether there is nothing more to take; what has not arrived whole is kept."""
        if at >= len(data):
            return True
        frame = _frame(data, at)
        if not isinstance(frame, IncompleteFrame):
            return False
        if frame.needed and not self._is_wanted(data, at):
            self._unwanted = frame.needed - (len(data) - at)
            return True
        self._needed = frame.needed
        self._rest += data[at:]
        return True

    def _is_wanted(self, data: bytes, at: int) -> bool:
        """Ask the gate of a subscription whether a message that has begun is to be received."""
        if not self.gates:
            return True
        message = begun(data, at)
        gate = self.gates.get(message.sid)
        return gate is None or gate(message)

    async def _take_other(self, data: bytes, at: int) -> int:
        """Let nats-py have a word of the protocol, or a message of a subscription of its own."""
        frame = _frame(data, at)
        if isinstance(frame, Frame):
            await self._client._process_msg(  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
                frame.sid, frame.subject, frame.reply, frame.data, frame.headers
            )
            return frame.end
        if isinstance(frame, ValueError):
            raise ProtocolError(str(frame))
        end = data.find(LINE_END, at) + len(LINE_END)
        await super().parse(data[at:end])
        return end


def _frame(data: bytes, at: int) -> Frame | IncompleteFrame | ValueError | None:
    """Return what begins at ``at``: a message, a part of something, nonsense, or a word."""
    try:
        frame = next_frame(data, at)
    except ValueError as error:
        return error
    return IncompleteFrame(0) if frame is None and data.find(LINE_END, at) < 0 else frame

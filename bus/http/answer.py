"""An answer whose body is read piece by piece."""

from collections.abc import AsyncIterator, Awaitable, Callable

from bus.fairness.slices import Slices
from bus.http.connection import HttpConnection
from bus.http.decoding import PLAIN, BodyDecoder, body_decoder
from bus.http.errors import HttpTooLargeError
from bus.http.heads import HttpHeaders
from bus.http.limits import BRIEF_BYTES, PIECE_BYTES
from bus.http.reading import Reading

Release = Callable[[HttpConnection], None]


class HttpAnswer:
    """Status and headers of an answer, and its body as it arrives. One task reads it.

    A packed body is unpacked to at most ``unpacks`` bytes, and left as it is where that is 0.
    """

    def __init__(
        self,
        connection: HttpConnection,
        reading: Reading,
        release: Release,
        turns: tuple[Slices, str],
        unpacks: int = 0,
    ) -> None:
        self.connection = connection
        self._reading = reading
        self._release = release
        self._slices, self._host = turns
        encoding = reading.headers.get("content-encoding").strip().lower() if unpacks else ""
        self._unpacks = unpacks = 0 if encoding in PLAIN else unpacks
        self._encoding = encoding
        self._decoder: BodyDecoder | None = None
        self._closed = False
        self.piece: Callable[[], Awaitable[bytes]] = self._unpacked if unpacks else self._sent
        """Return what has arrived, at most 32 KiB, and wait for at least one byte; b"" at the end.

        Large pieces are handed out in turns, one a turn of the loop over all answers of a client.
        Cancelling loses nothing: the next call returns what has arrived. Raises HttpSilentError:
        nothing came for too long; HttpTooLargeError: the body breaks a bound; HttpBrokenError: it
        is not whole, not readable or not packed as its headers say.
        """

    @property
    def status(self) -> int:
        """The status code."""
        return self._reading.status

    @property
    def headers(self) -> HttpHeaders:
        """The headers."""
        return self._reading.headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body; see ``piece``."""
        while piece := await self.piece():
            yield piece

    async def read(self, most: int) -> bytes:
        """Return the whole body, of at most so many bytes. Raises as ``piece``."""
        found: list[bytes] = []
        size = 0
        while piece := await self.piece():
            size += len(piece)
            if size > most:
                raise HttpTooLargeError(f"The body has more than {most} bytes.")
            found.append(piece)
        return found[0] if len(found) == 1 else b"".join(found)

    def close(self) -> None:
        """End the exchange. Before the end of the body this closes the connection at once."""
        if not self._closed:
            self._closed = True
            self._release(self.connection)

    async def _sent(self) -> bytes:
        reading, connection = self._reading, self.connection
        while not (reading.pieces or reading.done or reading.failure):
            await connection.change()
        if reading.unread > BRIEF_BYTES:
            await self._slices.ticket(self._host)
        if not reading.pieces:
            if reading.failure is not None:
                raise reading.failure
            return b""
        piece = reading.take()
        if connection.read_paused:
            connection.go_on_reading()
        return piece

    async def _unpacked(self) -> bytes:
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = body_decoder(self._encoding, most=self._unpacks)
        while True:
            if piece := decoder.take():
                if len(piece) == PIECE_BYTES:
                    # A small body may unpack to a large one, without a wait for the network.
                    await self._slices.ticket(self._host)
                return piece
            sent = await self._sent()
            if not sent:
                decoder.finish()
                return b""
            decoder.feed(sent)

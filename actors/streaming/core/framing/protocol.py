"""What cuts a stream of bytes into events, whatever the events mean."""

from collections.abc import Iterable
from typing import Protocol, TypeVar

E_co = TypeVar("E_co", covariant=True)


class Framing(Protocol[E_co]):
    """Turns bytes into events; the same events come out for every way of cutting the bytes.

    Memory is bounded. ``feed`` may be a generator: what came before the trouble then counts.
    """

    def feed(self, chunk: bytes, /) -> Iterable[E_co]:
        """Take the next bytes and return the events they complete.

        Raises:
            FramingError: see there.
        """
        ...

    def finish(self) -> Iterable[E_co]:
        """Say that the stream has ended; return what was complete but for its end."""
        ...

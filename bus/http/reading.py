"""One answer read from bytes, however they are cut. No I/O; httptools (llhttp) is the parser.

Refused, because another party may read them differently (RFC 9112, sections 6 and 11): a length
beside a transfer coding, several lengths, codings other than ``chunked``, continued header lines,
line ends without a carriage return, versions but 1.0 and 1.1. What comes behind an answer belongs
to nobody: such a connection serves no other request.
"""

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from bus.http.errors import HttpBrokenError, HttpTooLargeError
from bus.http.heads import HttpHeaders
from bus.http.limits import OVERHEAD_BYTES, OVERHEAD_RATIO, PIECE_BYTES, HttpLimits

_FIRST_FINAL = 200
_VERSIONS = frozenset({"1.0", "1.1"})


class Reading:
    """The answer to one request, as far as it has come.

    ``headed``: status and headers are there; ``done``: the body is, too. ``failure`` is raised to
    the reader once it has taken the ``pieces`` that came before. ``keeps``: both sides may use the
    connection again. The methods ``on_...`` are called by the parser.
    """

    __slots__ = (
        "_bodiless",
        "_fields",
        "_framed",
        "_interim",
        "_limits",
        "_parser",
        "_reusable",
        "body",
        "brought",
        "done",
        "failure",
        "headed",
        "headers",
        "keeps",
        "pieces",
        "status",
        "unread",
    )

    def __init__(self, limits: HttpLimits, *, bodiless: bool = False) -> None:
        self._limits = limits
        self._bodiless = bodiless
        self._parser = HttpResponseParser(self)
        self._fields: list[tuple[bytes, bytes]] = []
        self._interim = 0
        self._framed = False
        self.status = 0
        self.headers = HttpHeaders([])
        self.pieces: list[bytes] = []
        self.unread = 0
        self.body = 0
        self.brought = 0
        self.headed = False
        self.done = False
        self.keeps = False
        self._reusable = True
        self.failure: Exception | None = None

    def feed(self, data: bytes) -> None:
        """Read bytes; they are not looked at once the answer has failed."""
        if self.failure is not None:
            return
        self.brought += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fail(HttpBrokenError("The server speaks another protocol."))
        except HttpParserError:
            # Behind a whole answer there may be anything: nobody reads it.
            self.fail(HttpBrokenError("Not readable as HTTP."))
            self.keeps = False
        if not self.headed or self.brought > OVERHEAD_BYTES or self.body > self._limits.body_bytes:
            self._check_bounds()

    def end(self) -> None:
        """Take note that nothing more comes: a body without a length is whole by that."""
        if self.headed and not self._framed and self.failure is None:
            self.done = True
        elif not self.done:
            self._fail(HttpBrokenError("The server closed the connection before its answer ended."))

    def fail(self, error: Exception) -> None:
        """Give the answer up, unless it is whole."""
        if not self.done:
            self._fail(error)

    def forbid_reuse(self) -> None:
        """Let no other exchange follow on the connection."""
        self._reusable = self.keeps = False

    def take(self) -> bytes:
        """Return the unread bytes, at most a piece; b"" if there are none."""
        pieces = self.pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if len(data) > PIECE_BYTES:
            pieces.append(data[PIECE_BYTES:])
            data = data[:PIECE_BYTES]
        self.unread -= len(data)
        return data

    # Called by the parser

    def on_message_begin(self) -> None:
        """Another message begins: behind the answer there must be none."""
        if self.done:
            self.keeps = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those behind the body (trailers) are dropped."""
        if self.headed:
            return
        self._fields.append((name, value))
        if len(self._fields) > self._limits.headers:
            self._fail(HttpTooLargeError("The answer has too many headers."))
            self._fields.clear()

    def on_headers_complete(self) -> None:
        """Tell an interim answer (1xx) from the one that was asked for."""
        if self.headed or self.failure is not None:
            return
        status = self._parser.get_status_code()
        if status < _FIRST_FINAL:
            self._fields.clear()
            self._interim += 1
            if self._interim > self._limits.interim:
                self._fail(HttpTooLargeError("The server only says that it will answer."))
            return
        self.status, self.headers = status, HttpHeaders(self._fields)
        self._settle_framing()
        self.headed = self.failure is None

    def on_body(self, data: bytes) -> None:
        """Keep what came of the body."""
        if self.done or self.failure is not None:
            return
        self.pieces.append(data)
        self.unread += len(data)
        self.body += len(data)

    def on_message_complete(self) -> None:
        """Note the end of the answer; interim ones have no meaning."""
        if self.headed and not self.done:
            self.done = True
            self.keeps = self._reusable and self._parser.should_keep_alive()

    # Inside

    def _settle_framing(self) -> None:
        coding = self.headers.get("transfer-encoding").strip().lower()
        self._framed = bool(coding) or "content-length" in self.headers
        if self._parser.get_http_version() not in _VERSIONS or coding not in {"", "chunked"}:
            self._fail(HttpBrokenError("The body is framed in an unknown way."))
        elif self._bodiless:
            # The parser knows nothing of the request: what it takes for a body is not there.
            self.done = self._framed = True

    def _fail(self, error: Exception) -> None:
        self.failure = self.failure or error
        self.keeps = False

    def _check_bounds(self) -> None:
        if not self.headed:
            if self.brought > self._limits.head_bytes:
                self._fail(HttpTooLargeError("The head of the answer is too large."))
        elif self.body > self._limits.body_bytes:
            self._fail(HttpTooLargeError("The body of the answer is too large."))
        elif self.brought > OVERHEAD_BYTES + OVERHEAD_RATIO * self.body:
            self._fail(HttpTooLargeError("More comes around the answer than in it."))

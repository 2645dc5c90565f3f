"""What can go wrong with an exchange, by what is known of its outcome.

HttpError
├── HttpNotSentError      no byte of the request has left: it may be sent again without harm
└── HttpBrokenError       bytes have left, and there is no whole answer: the outcome is unknown
    ├── HttpSilentError   the server let the patience of a read run out
    └── HttpTooLargeError the answer breaks a bound

An address that the egress policy closes is a ``ProblemError`` with the code ``forbidden``, and a
URL or header that cannot be written one with ``validation``. No message holds bytes of the peer.
"""

from bus.errors import CallboardError


class HttpError(CallboardError):
    """An exchange has failed."""


class HttpNotSentError(HttpError):
    """No byte of the request has left: there was no connection, or no place for one."""


class HttpBrokenError(HttpError):
    """The request has left, in whole or in part, and no whole answer came."""


class HttpSilentError(HttpBrokenError):
    """Nothing of the body came for longer than a read may wait."""


class HttpTooLargeError(HttpBrokenError):
    """The head or the body of the answer is larger than allowed."""

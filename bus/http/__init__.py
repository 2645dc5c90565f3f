"""An HTTP/1.1 client for calls of APIs and token streams, under the egress policy.

``client``     exchanges over kept connections; what callers hold
``answer``     an answer, its body read piece by piece
``pool``       the connections to one origin, and who waits for one
``connection`` one connection, on which one exchange goes on at a time
``opening``    name, addresses, proxy and TLS of a connection
``intake``     how much is parsed in a turn of the loop
``reading``    bytes to an answer, however they are cut (pure)
``decoding``   gzip and deflate undone (pure)
``heads``      heads of requests, headers of answers (pure)
``urls``       URLs (pure)
``proxies``    proxies by the usual variables (pure)
``tls``        certificates
``limits``     bounds
``errors``     what can go wrong
"""

from bus.http.answer import HttpAnswer
from bus.http.client import HttpClient, HttpExchange
from bus.http.errors import (
    HttpBrokenError,
    HttpError,
    HttpNotSentError,
    HttpSilentError,
    HttpTooLargeError,
)
from bus.http.heads import HttpHeaders
from bus.http.limits import HttpLimits
from bus.http.proxies import HttpProxies

__all__ = [
    "HttpAnswer",
    "HttpBrokenError",
    "HttpClient",
    "HttpError",
    "HttpExchange",
    "HttpHeaders",
    "HttpLimits",
    "HttpNotSentError",
    "HttpProxies",
    "HttpSilentError",
    "HttpTooLargeError",
]

"""The TLS settings of a process."""

from functools import cache
from ssl import SSLContext

import httpx


@cache
def tls() -> SSLContext:
    """Return the settings all connections share: certificates and host names are verified.

    Trusted are the authorities of SSL_CERT_FILE or SSL_CERT_DIR, else those of certifi. Only
    HTTP/1.1 is offered. To make such settings takes 10 ms.
    """
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context

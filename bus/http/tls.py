"""The TLS settings of a process."""

import os
import ssl
from functools import cache

import certifi


@cache
def tls() -> ssl.SSLContext:
    """Return the settings all connections share: certificates and host names are verified.

    Trusted are the authorities of SSL_CERT_FILE or SSL_CERT_DIR, else those of certifi. Only
    HTTP/1.1 is offered.
    """
    # That of asyncio's and uvloop's own is made anew for each connection, in 10 ms.
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if not (file or folder):
        file = certifi.where()
    context = ssl.create_default_context(cafile=file or None, capath=folder or None)
    context.set_alpn_protocols(["http/1.1"])
    return context

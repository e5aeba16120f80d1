"""The certificates of authorities that receivers of webhooks and language models are held to."""

from __future__ import annotations

import functools
import ssl

import httpx2


@functools.cache
def trusted_certificates() -> ssl.SSLContext:
    """The certificates of the system, or of `SSL_CERT_FILE`; read once in a process: it takes long."""
    return httpx2.create_ssl_context()

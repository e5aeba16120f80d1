"""Exit code 0 where the worker in this container is ready, else 1 and what is missing.

The image has no curl, and this is run every few seconds: it imports the standard library alone. Of the settings it
knows the port from the environment, QUESTREAM_METRICS__PORT, not from the settings file.
"""

from __future__ import annotations

import http.client
import os
import sys

DEFAULT_PORT = 9464
TIMEOUT_SECONDS = 4.0


def missing(port: int) -> str | None:
    """What the worker that serves /readyz on `port` of this host lacks; None where it is ready."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        return None if answer.status == http.HTTPStatus.OK else answer.read(200).decode(errors="replace").strip()
    except (OSError, http.client.HTTPException) as error:
        return f"no answer on port {port} ({type(error).__name__})"
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(missing(int(os.environ.get("QUESTREAM_METRICS__PORT") or DEFAULT_PORT)))

"""A process that publishes events: `python -m tests.kit.watcher_process JSON`, with a fault where the test wants one.

The JSON: `process`, which is `Watcher` or `Delivery`; `settings` by dotted key; `port_file`, where to write the port of
the metrics page; and `fault` as in tests/kit/worker_process.py, or null.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from questream.logs import Redactor, configure_logging, secrets_of
from questream.settings import load_settings
from questream.stream.health import HealthServer
from questream.watch.delivery import Delivery
from questream.watch.watcher import Watcher
from tests.kit.worker_process import build_in


def main(arguments: dict[str, Any]) -> None:
    """Run until SIGTERM."""
    settings = load_settings(Path(os.devnull), arguments["settings"])
    configure_logging(settings.log, Redactor(secrets_of(settings)))
    if arguments["fault"]:
        build_in(arguments["fault"])
    watcher = Watcher(settings) if arguments["process"] == "Watcher" else Delivery(settings)
    condition, registry = watcher.condition, watcher.metrics.registry
    health = HealthServer("127.0.0.1", 0, registry, condition.live, condition.ready)
    health.show(registry, condition.live, condition.ready, condition.remark)
    signal.signal(signal.SIGTERM, lambda *_: watcher.stop())
    port_file = Path(arguments["port_file"])
    port_file.with_suffix(".tmp").write_text(str(health.port))
    port_file.with_suffix(".tmp").rename(port_file)
    watcher.run()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

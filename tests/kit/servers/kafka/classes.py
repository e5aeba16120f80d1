"""Kafka's classes as the JVM has them in memory, beside the jars: with them a broker starts in half the time."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import ClassVar

from tests.kit.servers.kafka import KafkaServer, class_archive


class ArchivingKafka(KafkaServer):
    """A broker that writes its classes to `archive` when it is stopped."""

    # Writing them takes longer than any other end in good order.
    stop_seconds: ClassVar[float] = 120.0

    def __init__(self, folder: Path, archive: Path) -> None:
        self._archive = archive
        super().__init__(folder)

    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, f"-XX:ArchiveClassesAtExit={self._archive}", *rest]


def archive_classes(jars: Path) -> None:
    """Start and stop a broker to keep its classes, unless they are kept already.

    Raises MissingServer if there is no Java.
    """
    archive = class_archive(jars)
    if archive.exists():
        return
    with tempfile.TemporaryDirectory(dir=jars.parent) as folder:
        partial = Path(folder) / archive.name
        with ArchivingKafka(Path(folder), partial) as server:
            server.stop()
        # Last, and in one step, as the jars.
        partial.rename(archive)

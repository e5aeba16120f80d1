"""The jars of Apache Kafka: fetched once by Maven, kept in a folder that is named after what pom.xml asks for."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.kit.servers.process import MissingServer, needed_program

POM = Path(__file__).with_name("pom.xml")
FETCH_SECONDS = 240


def kafka_jars() -> Path:
    """Folder with all jars of a broker, fetched if it is not there yet.

    It lies in `$QUESTREAM_TEST_CACHE`, or in `.cache` of the repository.
    Raises MissingServer if Maven is not installed or cannot fetch them.
    """
    cache = cache_folder()
    jars = cache / f"kafka-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    if not jars.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "kafka.lock").open("w") as lock:
            # Two test runs at once on one cache: the second one waits and finds what the first has fetched.
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not jars.is_dir():
                _fetch(jars)
    return jars


def cache_folder() -> Path:
    """Where tests keep what they fetch once."""
    return Path(os.environ.get("QUESTREAM_TEST_CACHE") or Path(__file__).parents[4] / ".cache").absolute()


def _fetch(jars: Path) -> None:
    maven = needed_program("mvn", "install maven and a JDK 17 or newer")
    partial = Path(tempfile.mkdtemp(dir=jars.parent))
    try:
        _copy_dependencies(maven, partial)
        # Last, and in one step: a folder of this name is always complete.
        partial.rename(jars)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _copy_dependencies(maven: str, target: Path) -> None:
    plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    # Strict checksums: a jar that was damaged on the way must not become a broker that fails strangely.
    command = [maven, "-q", "-B", "-C", "-f", str(POM), plugin, f"-DoutputDirectory={target}", "-DincludeScope=runtime"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=FETCH_SECONDS, cwd=target)
    except subprocess.TimeoutExpired:
        raise MissingServer(f"Maven did not fetch Apache Kafka within {FETCH_SECONDS} s") from None
    except subprocess.CalledProcessError as error:
        end = "\n".join((error.stdout + error.stderr).splitlines()[-10:])
        raise MissingServer(f"Maven cannot fetch Apache Kafka:\n{end}") from error

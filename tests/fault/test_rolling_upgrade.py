"""A rolling upgrade from the release before to this one, and back: both versions work side by side in one group."""

from __future__ import annotations

import signal
import subprocess
import tarfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Literal

import pytest

from tests.fault.test_planted_bugs import at_rest
from tests.kit.checker import Rules, check
from tests.kit.stream import Stream, WorkerProcess, members, question, wait_until
from tests.kit.vectors import hash_vector

ROOT = Path(__file__).parents[2]
# The last commit whose formats an upgrade must be able to start from.
RELEASE_BEFORE = "716ef79db545"
THRESHOLD = 0.55
WAVE = 400
ADDED_FIELDS = frozenset(
    {
        *("schema_version", "unknown_share", "prepared_by", "checked_by", "reason", "path"),
        *("confidence", "suggested_route"),
    }
)
PARTITIONS = 4
OPTIONS = {
    "clusters.threshold": THRESHOLD,
    # The release before may open a twin while the stream's mean still moves.
    "clusters.similarity": "cosine",
    "batch_questions": 48,
}


@pytest.fixture(scope="session")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the source of the release before; skips where there is no history (a tarball, a shallow clone)."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", RELEASE_BEFORE, "src", "tests"], cwd=ROOT, capture_output=True, check=False
    )
    if archive.returncode:
        pytest.skip(f"the history has no {RELEASE_BEFORE}")
    folder = tmp_path_factory.mktemp("release-before")
    with tarfile.open(fileobj=BytesIO(archive.stdout)) as source:
        source.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_workers_of_two_releases_share_a_group_through_an_upgrade_and_back(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    release_before: Path,
    delivery: Literal["exactly-once", "at-least-once"],
) -> None:
    stream = make_stream(PARTITIONS, **OPTIONS, delivery=delivery)
    sent = 0

    def under_load(share: float) -> None:
        """Send another wave, and return once `share` of it is committed: what follows happens under load."""
        nonlocal sent
        before, sent = sent, sent + WAVE
        stream.send(question(i, _text(i), partition=i % PARTITIONS) for i in range(before, sent))
        wait_until(lambda: sum(stream.committed().values()) >= before + share * WAVE, "the wave is being decided", 90)

    before = start_worker(stream, release=release_before, text_seconds=0.002)
    under_load(0.3)
    after = start_worker(stream, text_seconds=0.002)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    under_load(0.5)
    before.kill()
    under_load(0.5)

    # And back, this time as an operator does it.
    before = start_worker(stream, release=release_before, text_seconds=0.002)
    wait_until(lambda: len(members(stream)) == 2, "both releases share the partitions")
    under_load(0.5)
    after.signal(signal.SIGTERM)
    assert after.wait() == 0
    under_load(0.5)

    start_worker(stream, text_seconds=0.002)
    before.kill()
    evidence = at_rest(stream, sent)
    rules = Rules(THRESHOLD, hash_vector, similarity="cosine", delivery=delivery, added_fields=ADDED_FIELDS)
    violations = check(evidence, rules)
    assert not violations, "\n".join(map(str, violations[:20]))
    # Else nothing was put to the test.
    assert {b"schema_version" in (entry.value or b"") for entry in evidence.output} == {False, True}


def _text(number: int) -> str:
    """Subjects that go on coming: some are joined, some opened, and at times two become one."""
    subject = (number * number) % (40 + number // 20)
    parts = [f"what{subject}", f"how{subject}", f"why{subject}"]
    return " ".join(parts[: 2 + number % 2] if number % 5 else parts[1:])

"""A worker that a nursery forked has nothing left to import: each of hundreds would pay for it again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.kit.forked import FORKS
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, WorkerProcess, question

pytestmark = pytest.mark.skipif(not FORKS, reason="a nursery takes Linux")


def libraries_of(process: psutil.Process) -> set[str]:
    """The shared libraries that it has loaded, those of Python's modules among them."""
    return {region.path for region in process.memory_maps() if ".so" in Path(region.path).name}


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_its_nursery_has_loaded_every_library_that_it_uses(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, client: str, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url)
    stream.send([question(1, "where is my card?")])
    with WorkerProcess(tmp_path, stream.overrides(kafka__client=client)) as worker, stream.decisions() as decisions:
        decisions.until(1)
        assert worker.running
        assert worker._process is not None
        process = psutil.Process(worker._process.pid)
        nursery = process.parent()
        assert nursery is not None
        assert libraries_of(process) - libraries_of(nursery) == set()

"""Redis is put back from a dump that is older than what the cluster topic still tells of retired clusters."""

from __future__ import annotations

import signal
from collections.abc import Callable

import orjson

from tests.fault.test_crash import text
from tests.fault.test_store_loss import OPTIONS
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import Stream, WorkerProcess, forget, question, wait_until

META = "questream:{default}:meta"
TWO_DAYS_MS = 2 * 86_400_000


def test_a_dump_older_than_the_tombstones_is_refused_and_an_emptied_redis_filled_again(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    start_worker: Callable[..., WorkerProcess],
) -> None:
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(), server.url, OPTIONS)
    stream.send(question(i, text(i)) for i in range(20))
    worker = start_worker(stream)
    with stream.decisions() as reader:
        before = {d["question_id"]: d["cluster_id"] for d in reader.values(20)}
    client = stream.redis()
    wait_until(lambda: client.hexists(META, "settings"), "the worker has noted that it runs")
    wait_until(lambda: not stream.store().unpublished("default", 0, 1), "all states are published")
    worker.signal(signal.SIGTERM)
    worker.wait()
    # What a dump of two days ago says; what was published since stands in the topic.
    noted = orjson.loads(client.hget(META, "settings") or b"{}")
    aged = {digest: [at - TWO_DAYS_MS, *rest] for digest, (at, *rest) in noted.items()}
    client.hset(META, "settings", orjson.dumps(aged))
    server.kill()
    server.start()
    refused = start_worker(stream)
    refused.wait()
    assert "empty that Redis" in refused.end_of_log()
    assert stream.store().store_epoch("default") is None
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    findings = {found["check"]: found for found in questream("doctor", "--json", *flags).json}
    assert findings["redis home"]["status"] == "fail"
    assert "restored from a copy" in findings["redis home"]["told"]
    forget(stream, refused)
    stream.redis().flushdb()
    stream.send(question(i, text(i)) for i in range(20, 40))
    start_worker(stream)
    with stream.decisions() as reader:
        after = {d["question_id"]: d["cluster_id"] for d in reader.values(40)[20:]}
    subjects = {text(int(i[1:])).split()[0]: cluster_id for i, cluster_id in before.items()}
    for name, cluster_id in after.items():
        assert subjects.get(text(int(name[1:])).split()[0], cluster_id) == cluster_id

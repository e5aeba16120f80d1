"""What a worker merged is two clusters again when somebody says so: on Kafka and Redis, and after a loss of Redis."""

from __future__ import annotations

from collections.abc import Callable

import jsonschema

from questream.records import load_schema
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

CARD = "where is my card card card"
LOST = "where is my lost card card"
# The two are apart, and near enough to merge.
SETTINGS = {
    "clusters.threshold": 0.95,
    "clusters.merge_threshold": 0.7,
    "clusters.similarity": "cosine",
    "judge.features": False,
}


def test_an_operator_takes_a_workers_merge_back_for_good(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, SETTINGS)
    store, redis_flag = stream.store(), f"--redis.url={redis_url}"
    operations = Reader(stream.bootstrap_servers, stream.topics.operation_topic)
    with (
        running_worker(stream.settings(), hash_encoder()),
        stream.decisions() as reader,
        operations as published,
    ):
        stream.send([question(one, CARD) for one in "abc"])
        reader.values(3)
        stream.send([question("lost", LOST)])
        apart = reader.values(4)[3]["cluster_id"]
        assert apart != "c1"
        # Clusters merge once either moves.
        stream.send([question("next", CARD)])
        wait_until(lambda: len(list(store.clusters("default"))) == 1, "a worker has merged the two")

        preview = questream("clusters", "unmerge", apart, "--dry-run", "--json", redis_flag)
        assert (preview.code, preview.json["parted"], preview.json["operation"]) == (0, apart, None)
        assert len(list(store.clusters("default"))) == 1
        done = questream(
            "clusters", "unmerge", apart, "--actor", "ann", "--reason", "lost is another", "--json", redis_flag
        )
        assert (done.code, done.json["kind"], done.json["parted"], done.json["undoes"]) == (0, "unmerge", apart, None)
        (record,) = published.until(1)
        jsonschema.validate(published.values(1)[0], load_schema("operation"))
        assert (record.key, published.values(1)[0]["parted"]) == (b"default", apart)

        def sizes() -> dict[str, int]:
            return {f"c{state.cluster_id}": state.size for state in store.clusters("default")}

        assert sizes() == {"c1": 4, apart: 1}
        stream.send([question("again", LOST), question("card", CARD)])
        assert [value["cluster_id"] for value in reader.values(7)[5:]] == [apart, "c1"]
        wait_until(lambda: store.unpublished("default", 0.0, 10) == [], "the outbox is published")
        known = store.operations("default", 10)

        with stream.redis() as client:
            client.flushall()
        stream.send([question("later", LOST), question("last", CARD)])
        assert [value["cluster_id"] for value in reader.values(9)[7:]] == [apart, "c1"]
        assert sizes() == {"c1": 6, apart: 3}
        assert store.operations("default", 10) == known
        # What a merge absorbed is in Redis alone; the merge that takes the undo back needs none of it.
        again = questream("undo", str(done.json["operation"]), "--json", redis_flag)
        assert (again.code, again.json["survivor"], sizes()) == (0, "c1", {"c1": 9})
        assert [value["operation"] for value in published.values(2)] == [1, 2]
